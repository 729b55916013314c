package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/image"
)

// artifactoryBody is what JFrog Artifactory sends. Some releases send what is in
// data alone (JFrog help, "Event Types").
type artifactoryBody struct {
	Domain    string          `json:"domain"`
	EventType string          `json:"event_type"`
	Data      json.RawMessage `json:"data"`
	Origin    string          `json:"jpd_origin"`
	Source    string          `json:"source"` // "jfrog/" and the user
}

type artifactoryData struct {
	RepoKey   string `json:"repo_key"`
	EventType string `json:"event_type"`
	Path      string `json:"path"` // image/reference/file
	Name      string `json:"name"` // of the file
	SHA256    string `json:"sha256"`
	ImageName string `json:"image_name"` // in some releases only its last part
	ImageType string `json:"image_type"`
	Tag       string `json:"tag"`
}

// The files of an image in Artifactory that are manifests.
const (
	artifactoryManifest = "manifest.json"
	artifactoryIndex    = "list.manifest.json"
)

// verifyArtifactory: the header holds the secret itself, or the signature when
// "use secret for payload signing" is on.
func verifyArtifactory(ctx context.Context, r request) error {
	return r.verify(ctx, signing{header: "X-JFrog-Event-Auth"})
}

// parseArtifactory reads the one event of a request. It has neither an id nor a
// time, so that no two requests are the same delivery.
func parseArtifactory(r request) ([]Item, error) {
	var body artifactoryBody
	if err := decodeObject(r.body, &body); err != nil {
		return nil, err
	}
	if !body.isAboutFiles() {
		return []Item{r.judge(claim{action: Action(body.EventType), ignored: ReasonOtherEvent})}, nil
	}
	data, err := body.data(r.body)
	if err != nil {
		return nil, err
	}
	c := body.claim(data)
	host, usual := r.endpoint.artifactoryHost(urlHost(body.Origin), data.RepoKey)
	repository, other := r.endpoint.managed(data.RepoKey, data.repository(), usual)
	c.host, c.repository, c.ignored = host, repository, cmp.Or(c.ignored, other)
	item := r.judge(c)
	if data.file() == artifactoryIndex && !slices.Contains(item.Event.Flags, FlagIndex) {
		item.Event.Flags = append([]string{FlagIndex}, item.Event.Flags...)
	}
	return []Item{item}, nil
}

// isAboutFiles is false for the domains whose data has another shape: builds,
// release bundles, users.
func (b artifactoryBody) isAboutFiles() bool {
	return b.Domain == "" || b.Domain == "docker" || b.Domain == "artifact"
}

// data is the inner object, or the body when there is none.
func (b artifactoryBody) data(body []byte) (data artifactoryData, err error) {
	if len(b.Data) == 0 || string(b.Data) == "null" {
		return data, decodeObject(body, &data)
	}
	return data, decodeObject(b.Data, &data)
}

func (b artifactoryBody) claim(d artifactoryData) claim {
	action, ignored := b.action(d)
	c := claim{
		action: action, tag: d.reference(), digest: d.digest(),
		actor: strings.TrimPrefix(b.Source, "jfrog/"), ignored: cmp.Or(ignored, d.ignored()),
	}
	return c
}

// artifactoryHost is the platform's host, behind which images have the
// repository's key in their path. An endpoint whose host is the one Artifactory
// gives the repository (sub-domain access: key.acme.example, or acme-key.jfrog.io
// in the cloud) is meant by it, and has no key in the path.
func (e Endpoint) artifactoryHost(platform, key string) (host, usual string) {
	server, domain, _ := strings.Cut(platform, ".")
	for _, own := range []string{key + "." + platform, server + "-" + key + "." + domain} {
		if key != "" && platform != "" && image.CanonicalHost(own) == e.canonicalHost() {
			return own, PrefixNone
		}
	}
	return platform, PrefixSource
}

// action: a promoted tag is new in the repository it was promoted to.
func (b artifactoryBody) action(d artifactoryData) (action Action, ignored string) {
	word := cmp.Or(b.EventType, d.EventType)
	switch {
	case d.SHA256 == "sample_checksum": // what the Test button sends
		return Action(word), ReasonPing
	case b.Domain == "artifact" || b.Domain == "" && d.ImageName == "" && d.Tag == "" && d.Path != "":
		return Action(word), artifactoryFileReason(d.file())
	}
	switch word {
	case "pushed", "promoted":
		return ActionPush, ""
	case "deleted":
		return ActionDelete, ""
	}
	return Action(word), ReasonUnknownEvent
}

// artifactoryFileReason tells apart what the artifact domain sends for every
// single file: the docker domain sends images again, once.
func artifactoryFileReason(file string) string {
	if strings.HasPrefix(file, "sha256__") {
		return ReasonBlob
	}
	return ReasonOtherEvent
}

func (d artifactoryData) ignored() string {
	switch d.ImageType {
	case "", "docker", "oci":
	case "helmoci":
		return ReasonChart
	default:
		return ReasonArtifact
	}
	if d.file() != "" && !d.isManifest() {
		return ReasonBlob
	}
	return ""
}

func (d artifactoryData) isManifest() bool {
	return d.file() == artifactoryManifest || d.file() == artifactoryIndex
}

// file is the name of the file, which is also the last part of the path.
func (d artifactoryData) file() string {
	return cmp.Or(d.Name, d.Path[strings.LastIndexByte(d.Path, '/')+1:])
}

// repository is the path without its last two parts; only without a path the
// image's name, which may lack the folders above it.
func (d artifactoryData) repository() string {
	folder, _ := d.folder()
	return cmp.Or(folder, d.ImageName)
}

// reference is the tag, or for a child of an index the digest its folder is
// called after.
func (d artifactoryData) reference() string {
	_, reference := d.folder()
	reference = cmp.Or(d.Tag, reference)
	if digits, ok := strings.CutPrefix(reference, "sha256__"); ok && image.LooksLikeDigest("sha256:"+digits) {
		return "sha256:" + digits
	}
	return reference
}

// folder cuts "image/reference/file" into image and reference.
func (d artifactoryData) folder() (name, reference string) {
	parts := strings.Split(d.Path, "/")
	if len(parts) < 3 {
		return "", ""
	}
	return strings.Join(parts[:len(parts)-2], "/"), parts[len(parts)-2]
}

// digest is that of the file, which is the manifest's when it is a manifest.
func (d artifactoryData) digest() string {
	if d.SHA256 == "" || !d.isManifest() {
		return ""
	}
	return "sha256:" + d.SHA256
}
