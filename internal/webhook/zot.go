package webhook

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/image"
)

// zotData is the data of zot's events (zot, pkg/extensions/events).
type zotData struct {
	Name      string `json:"name"`
	Reference string `json:"reference"` // a tag or a digest
	Digest    string `json:"digest"`
	MediaType string `json:"mediaType"`
	Manifest  string `json:"manifest"` // the manifest itself, as text
	Actor     struct {
		Name string `json:"name"`
	} `json:"actor"`
}

// verifyZot: zot adds configured credentials or headers and cannot sign.
func verifyZot(ctx context.Context, r request) error { return r.verify(ctx, signing{}) }

// parseZot reads a CloudEvent, which zot sends in the binary mode: its type is
// in a header alone. Events name no host: zot does not know its own.
func parseZot(r request) ([]Item, error) { return r.judgeEvents(zotClaim) }

func zotClaim(e cloudEvent) (claim, error) {
	action, ignored := zotAction(e.Type)
	var data zotData
	if err := e.into(&data); err != nil && ignored == "" {
		return claim{}, err
	}
	c := claim{
		action: action, repository: data.Name, tag: data.Reference, digest: data.Digest,
		mediaType: data.MediaType, actor: data.Actor.Name, ignored: ignored,
	}
	if c.ignored == "" {
		c.ignored = manifestReason(data.Manifest, data.MediaType)
	}
	return c, nil
}

// zotAction looks at the end of the type only: what stands before is a setting
// of zot, "zotregistry" by default. A lint that failed refused the push, and a
// scan of zot's own must not start one of ours, which zot would see as a pull.
func zotAction(eventType string) (action Action, ignored string) {
	switch lastParts(eventType, 2) {
	case "image.updated":
		return ActionPush, ""
	case "image.deleted":
		return ActionDelete, ""
	case "image.lint_failed", "image.scanned", "repository.created":
		return Action(eventType), ReasonOtherEvent
	}
	return Action(eventType), ReasonUnknownEvent
}

// lastParts returns the last n parts of a name with dots.
func lastParts(s string, n int) string {
	parts := strings.Split(s, ".")
	return strings.Join(parts[max(0, len(parts)-n):], ".")
}

// embeddedManifest holds what tells the kind of artifact (OCI image-spec,
// manifest.md).
type embeddedManifest struct {
	MediaType    string `json:"mediaType"`
	ArtifactType string `json:"artifactType"`
	Config       struct {
		MediaType string `json:"mediaType"`
	} `json:"config"`
	Layers []struct {
		MediaType string `json:"mediaType"`
	} `json:"layers"`
	Subject json.RawMessage `json:"subject"`
}

// manifestReason says why the manifest in an event is not an image; "" when it
// is one, and when the manifest does not tell.
func manifestReason(manifest, mediaType string) string {
	var m embeddedManifest
	if manifest == "" || decodeObject([]byte(manifest), &m) != nil {
		return ""
	}
	traits := image.Traits{
		MediaType: m.MediaType, ArtifactType: m.ArtifactType, ConfigMediaType: m.Config.MediaType,
		HasSubject: len(m.Subject) > 0 && string(m.Subject) != "null",
	}
	if traits.MediaType == "" {
		traits.MediaType = mediaType
	}
	for _, layer := range m.Layers {
		traits.LayerMediaTypes = append(traits.LayerMediaTypes, layer.MediaType)
	}
	return kindReason(image.Classify(traits))
}
