package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
)

// genericBody is our own format: one reference in "image", several in "images",
// or a repository in "name" with its "tag". The action may stand in "action" or
// "event" and is push when both are missing.
type genericBody struct {
	Image  string   `json:"image"`
	Images []string `json:"images"`
	Name   string   `json:"name"`
	Tag    string   `json:"tag"`

	Action string          `json:"action"`
	Event  string          `json:"event"`
	Ping   json.RawMessage `json:"ping"`
}

// maxReference is longer than any reference with host, repository, tag and
// digest can be.
const maxReference = 1024

// noHost stands in for the host while a reference is parsed: the grammar needs
// one, and a configured host without a dot would be taken for a repository.
const noHost = "registry.invalid"

// verifyGeneric: the caller is a script that can do any of our kinds.
func verifyGeneric(ctx context.Context, r request) error { return r.verify(ctx, plainSigning) }

// parseGeneric reads references. The caller can mend its request, so one wrong
// reference refuses all of it, naming the field. An Idempotency-Key with the
// same image is the same delivery; without one every request counts.
func parseGeneric(r request) ([]Item, error) {
	var body genericBody
	if err := decodeObject(r.body, &body); err != nil {
		return nil, err
	}
	fields := body.fields()
	if len(fields) == 0 {
		return nil, body.checkPing(r.body)
	}
	if err := checkCount("images", len(fields)); err != nil {
		return nil, err
	}
	items := make([]Item, 0, len(fields))
	for _, f := range fields {
		c, err := r.genericClaim(f)
		if err != nil {
			return nil, err
		}
		c.action, c.ignored = body.action()
		if c.eventID != "" {
			c.key = contentKey("idempotency", c.eventID, string(c.action), c.repository, c.tag, c.digest)
		}
		items = append(items, r.judge(c))
	}
	return items, nil
}

// genericField is a reference and where it stood.
type genericField struct{ name, reference string }

func (b genericBody) fields() []genericField {
	var fields []genericField
	if b.Image != "" {
		fields = append(fields, genericField{"image", b.Image})
	}
	for i, reference := range b.Images {
		fields = append(fields, genericField{fmt.Sprintf("images[%d]", i), reference})
	}
	if b.Name != "" {
		fields = append(fields, genericField{"name", joinTag(b.Name, b.Tag)})
	}
	return fields
}

func joinTag(name, tag string) string {
	switch {
	case tag == "":
		return name
	case image.LooksLikeDigest(tag):
		return name + "@" + tag
	}
	return name + ":" + tag
}

func (b genericBody) action() (action Action, ignored string) {
	switch word := b.word(); word {
	case "", string(ActionPush):
		return ActionPush, ""
	case string(ActionDelete):
		return ActionDelete, ""
	case "pull":
		return "pull", ReasonPull
	default:
		return Action(word), ReasonUnknownEvent
	}
}

func (b genericBody) word() string {
	if b.Action != "" {
		return strings.ToLower(b.Action)
	}
	return strings.ToLower(b.Event)
}

// checkPing lets a test call without any reference pass: an empty object, an
// empty list, or the word ping. Anything else has most likely a misspelt field.
func (b genericBody) checkPing(raw []byte) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return errs.Wrap(errs.Invalid, "webhook: read the body", err)
	}
	if len(all) == 0 || b.Images != nil || b.Ping != nil || b.word() == "ping" {
		return nil
	}
	return errs.New(errs.Malformed, `webhook: fields "image", "images" and "name" are missing or empty`).
		WithHint(`send {"image": "repository:tag"}`)
}

func (r request) genericClaim(f genericField) (claim, error) {
	if len(f.reference) > maxReference {
		return claim{}, errs.New(errs.Malformed, "webhook: field %q is longer than %d", f.name, maxReference)
	}
	host, rest := r.splitHost(f.reference)
	if host != "" && !r.endpoint.answersTo(host) {
		return claim{}, errs.New(errs.Unsupported, "webhook: field %q names host %.100q, which is not one of this endpoint's", f.name, host).
			WithHint("leave the host out, use the endpoint of that registry, or add the name to the registry's aliases")
	}
	base := noHost
	if image.CanonicalHost(r.endpoint.Host) == "docker.io" {
		base = "docker.io" // where "nginx" is short for "library/nginx"
	}
	ref, err := image.ParseReference(base + "/" + rest)
	if err != nil || !isRepository(ref.Repository) {
		return claim{}, errs.New(errs.Malformed, "webhook: field %q: %.300q is not an image reference", f.name, f.reference).
			WithHint("write it as repository:tag, repository@sha256:… or with the registry's host before it")
	}
	return claim{
		host:       host,
		repository: ref.Repository,
		tag:        ref.Tag,
		digest:     string(ref.Digest),
		eventID:    r.header.Get("Idempotency-Key"),
	}, nil
}

// splitHost cuts the host off a reference. The first segment is a host when it
// is one of the endpoint's names or looks like one (a dot, a port, localhost),
// as every container tool reads it.
func (r request) splitHost(reference string) (host, rest string) {
	first, rest, ok := strings.Cut(reference, "/")
	canonical := image.CanonicalHost(first)
	if ok && (r.endpoint.answersTo(canonical) || strings.ContainsAny(first, ".:") || first == "localhost") {
		return canonical, rest
	}
	return "", reference
}
