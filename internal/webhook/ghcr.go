package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/image"
)

// ghcrBody is a webhook of GitHub. Organisations and repositories get the event
// package, GitHub Apps registry_package; both have the same content.
type ghcrBody struct {
	Action          string       `json:"action"`
	Package         *ghcrPackage `json:"package"`
	RegistryPackage *ghcrPackage `json:"registry_package"`
	Sender          struct {
		Login string `json:"login"`
	} `json:"sender"`
	Zen string `json:"zen"` // only pings have it
}

type ghcrPackage struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Ecosystem string `json:"ecosystem"`
	Type      string `json:"package_type"`
	UpdatedAt string `json:"updated_at"`
	Owner     struct {
		Login string `json:"login"`
	} `json:"owner"`
	Version ghcrVersion `json:"package_version"`
}

// ghcrVersion is a manifest. Version and Name hold its digest.
type ghcrVersion struct {
	Version   string `json:"version"`
	Name      string `json:"name"`
	CreatedAt string `json:"created_at"`
	UpdatedAt string `json:"updated_at"`
	URL       string `json:"package_url"` // host/owner/name:tag, or with nothing behind the colon
	Container struct {
		Tag struct {
			Name   string `json:"name"`
			Digest string `json:"digest"`
		} `json:"tag"`
		Manifest struct {
			Digest    string            `json:"digest"`
			MediaType string            `json:"media_type"`
			Config    json.RawMessage   `json:"config"`
			Layers    []json.RawMessage `json:"layers"`
		} `json:"manifest"`
	} `json:"container_metadata"`
}

// verifyGhcr: GitHub signs the raw body, JSON or form. The older header with
// SHA-1 is not looked at.
func verifyGhcr(ctx context.Context, r request) error {
	return r.verify(ctx, signing{"X-Hub-Signature-256", "sha256="})
}

// parseGhcr reads the one event of a webhook. The body says which it is; the
// header, which is not signed, only names those without a package.
func parseGhcr(r request) ([]Item, error) {
	payload, err := r.payload()
	if err != nil {
		return nil, err
	}
	var body ghcrBody
	if err := decodeObject(payload, &body); err != nil {
		return nil, err
	}
	p := body.Package
	if p == nil {
		p = body.RegistryPackage
	}
	c := claim{actor: body.Sender.Login, eventID: r.header.Get("X-GitHub-Delivery")}
	if p == nil {
		c.action, c.ignored = body.other(r.header.Get("X-GitHub-Event"))
	} else {
		p.fill(&c, body.Action)
	}
	c.key = ghcrKey(c)
	return []Item{r.judge(c)}, nil
}

// other names an event without a package.
func (b ghcrBody) other(event string) (action Action, ignored string) {
	switch {
	case event == "ping", event == "" && b.Zen != "":
		return "ping", ReasonPing
	case event == "", event == "package", event == "registry_package":
		return Action(event), ReasonUnknownEvent
	}
	return Action(event), ReasonOtherEvent
}

func (p ghcrPackage) fill(c *claim, action string) {
	host, repository, urlTag := ghcrURL(p.Version.URL)
	c.action, c.ignored = p.action(action)
	c.host = host
	c.repository = cmp.Or(repository, p.repository())
	c.tag = cmp.Or(p.Version.Container.Tag.Name, urlTag)
	c.digest = p.digest()
	c.mediaType = p.Version.Container.Manifest.MediaType
	c.occurredAt = latest(p.Version.CreatedAt, p.Version.UpdatedAt, p.UpdatedAt)
}

func (p ghcrPackage) action(word string) (action Action, ignored string) {
	if !p.isContainer() {
		return Action(word), ReasonArtifact
	}
	switch word {
	case "published", "updated":
		return ActionPush, p.artifact()
	case "deleted":
		return ActionDelete, ""
	}
	return Action(word), ReasonUnknownEvent
}

// isContainer looks at the content too: GitHub's own example of a container says
// npm.
func (p ghcrPackage) isContainer() bool {
	for _, kind := range []string{p.Type, p.Ecosystem} {
		if strings.EqualFold(kind, "container") || strings.EqualFold(kind, "docker") {
			return true
		}
	}
	return p.Version.Container.Manifest.Digest != "" || p.Version.Container.Tag.Digest != ""
}

// artifact tells what can be told from config and layers; see
// distributionEvent.artifact.
func (p ghcrPackage) artifact() string {
	m := p.Version.Container.Manifest
	traits := image.Traits{MediaType: m.MediaType, ConfigMediaType: mediaTypeOf(m.Config)}
	for _, layer := range m.Layers {
		traits.LayerMediaTypes = append(traits.LayerMediaTypes, mediaTypeOf(layer))
	}
	return mediaTypesReason(traits)
}

// mediaTypeOf reads a descriptor, "" when it is of another shape: it is only
// wanted to leave something out.
func mediaTypeOf(raw json.RawMessage) string {
	var descriptor struct {
		MediaType string `json:"media_type"`
	}
	_ = json.Unmarshal(raw, &descriptor)
	return descriptor.MediaType
}

// digest is the first that is one: in some bodies the version is the manifest's
// digest and others are cut.
func (p ghcrPackage) digest() string {
	v := p.Version
	var first string
	for _, s := range []string{v.Version, v.Container.Tag.Digest, v.Container.Manifest.Digest, v.Name} {
		if _, err := image.ParseDigest(s); err == nil {
			return s
		}
		if first == "" && image.LooksLikeDigest(s) {
			first = s
		}
	}
	return first
}

// repository is for bodies without a package_url. Owners keep the case they were
// registered in; references to their images are in lower case.
func (p ghcrPackage) repository() string {
	owner := cmp.Or(p.Owner.Login, p.Namespace)
	if owner == "" || p.Name == "" {
		return ""
	}
	return strings.ToLower(owner + "/" + p.Name)
}

// ghcrURL takes a package_url apart. The tag may be missing behind its colon,
// and the colon too.
func ghcrURL(s string) (host, repository, tag string) {
	_, reference, found := strings.Cut(s, "://")
	if !found {
		reference = s
	}
	reference, _, _ = strings.Cut(reference, "@")
	host, path, ok := strings.Cut(reference, "/")
	if !ok {
		return "", "", ""
	}
	last := strings.LastIndexByte(path, '/') + 1
	name, tag, _ := strings.Cut(path[last:], ":")
	return host, strings.ToLower(path[:last] + name), tag
}

// latest returns the latest of some times. A tag that moves to a manifest of old
// leaves that one's own time behind.
func latest(times ...string) time.Time {
	var last time.Time
	for _, s := range times {
		if t := parseTime(s); t.After(last) {
			last = t
		}
	}
	return last
}

// ghcrKey is the delivery's id, which a redelivery by hand repeats.
func ghcrKey(c claim) string {
	if c.eventID != "" || c.occurredAt.IsZero() {
		return idKey(c.eventID)
	}
	return contentKey("event", string(c.action), c.repository, c.tag, c.digest, c.occurredAt.UTC().Format(time.RFC3339Nano))
}
