package webhook

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/image"
)

// distributionBody is the envelope of CNCF Distribution's notifications, which
// GitLab's registry sends as well (distribution, notifications/event.go).
type distributionBody struct {
	Events json.RawMessage `json:"events"`
}

// distributionEvent holds the fields we use. GitLab puts a signed token into
// the actor: only the name is ever read.
type distributionEvent struct {
	ID        string `json:"id"`
	Timestamp string `json:"timestamp"`
	Action    string `json:"action"`
	Target    struct {
		MediaType  string `json:"mediaType"`
		Digest     string `json:"digest"`
		Repository string `json:"repository"`
		URL        string `json:"url"`
		Tag        string `json:"tag"`
		References []struct {
			MediaType string `json:"mediaType"`
		} `json:"references"`
	} `json:"target"`
	Request struct {
		Host string `json:"host"`
	} `json:"request"`
	Actor struct {
		Name string `json:"name"`
	} `json:"actor"`
}

// verifyDistribution: the sender cannot sign, it adds configured headers.
func verifyDistribution(ctx context.Context, r request) error { return r.verify(ctx, signing{}) }

// parseDistribution reads an envelope. One event of a wrong shape is an ignored
// item: a refused request would be sent for ever and hold up all later ones.
func parseDistribution(r request) ([]Item, error) {
	var body distributionBody
	if err := decodeObject(r.body, &body); err != nil {
		return nil, err
	}
	raws, err := decodeEvents("events", body.Events)
	if err != nil {
		return nil, err
	}
	items := make([]Item, 0, len(raws))
	for _, raw := range raws {
		var e distributionEvent
		if err := decode(raw, &e); err != nil {
			items = append(items, r.judge(claim{ignored: ReasonMalformed, key: contentKey("event", string(raw))}))
			continue
		}
		items = append(items, r.judge(e.claim()))
	}
	return items, nil
}

func (e distributionEvent) claim() claim {
	return claim{
		action:     Action(e.Action),
		host:       e.host(),
		repository: e.Target.Repository,
		tag:        e.Target.Tag,
		digest:     e.Target.Digest,
		mediaType:  e.Target.MediaType,
		actor:      e.Actor.Name,
		eventID:    e.ID,
		occurredAt: parseTime(e.Timestamp),
		ignored:    e.ignored(),
		key:        e.key(),
	}
}

// host prefers the URL, which carries the public name where request.host is
// that of an inner listener; deletes have only request.host.
func (e distributionEvent) host() string {
	if host := urlHost(e.Target.URL); host != "" {
		return host
	}
	return e.Request.Host
}

func (e distributionEvent) ignored() string {
	switch e.Action {
	case "pull":
		return ReasonPull
	case "mount":
		return ReasonMount
	case string(ActionPush), string(ActionDelete):
	default:
		return ReasonUnknownEvent
	}
	if isBlobURL(e.Target.URL) || isBlobType(e.Target.MediaType) {
		return ReasonBlob
	}
	return e.artifact()
}

// artifact tells charts, signatures and attestations from images where the
// registry sends references (notifications.events.includereferences): the
// config first, then the layers. What it cannot tell is left to the scan.
func (e distributionEvent) artifact() string {
	refs := e.Target.References
	if !image.IsManifestType(e.Target.MediaType) || len(refs) == 0 {
		return ""
	}
	traits := image.Traits{MediaType: e.Target.MediaType, ConfigMediaType: refs[0].MediaType}
	for _, layer := range refs[1:] {
		traits.LayerMediaTypes = append(traits.LayerMediaTypes, layer.MediaType)
	}
	return mediaTypesReason(traits)
}

// key is the sender's id, which a retry repeats. Without one the content with
// its time stands in; without a time nothing tells a retry from a new push.
func (e distributionEvent) key() string {
	if e.ID != "" || parseTime(e.Timestamp).IsZero() {
		return idKey(e.ID)
	}
	return contentKey("event", e.Action, e.Target.Repository, e.Target.Tag, e.Target.Digest, e.Timestamp)
}

// isBlobURL reports whether the last but one segment of the path is "blobs";
// a repository may have that word in its name.
func isBlobURL(s string) bool {
	u, err := url.Parse(s)
	if err != nil {
		return false
	}
	segments := strings.Split(u.Path, "/")
	return len(segments) > 1 && segments[len(segments)-2] == "blobs"
}

// isBlobType reports whether a media type is that of a layer or a config.
func isBlobType(mediaType string) bool {
	switch mediaType {
	case "application/octet-stream", image.MediaTypeOCIConfig, image.MediaTypeDockerConfig:
		return true
	}
	return strings.Contains(mediaType, "rootfs.diff") || strings.Contains(mediaType, "image.layer")
}
