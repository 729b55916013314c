package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// quayBody is a notification of Quay. It does not say which event it is: the
// keys that only some events have tell (quay, notifications/notificationevent.py).
type quayBody struct {
	Name       string `json:"name"`
	Namespace  string `json:"namespace"`
	Repository string `json:"repository"`
	DockerURL  string `json:"docker_url"` // host/namespace/name
	// UpdatedTags is a list; very old versions sent an object with the tags as
	// keys.
	UpdatedTags json.RawMessage `json:"updated_tags"`

	Vulnerability   json.RawMessage `json:"vulnerability"`
	Vulnerabilities json.RawMessage `json:"vulnerabilities"`
	BuildID         json.RawMessage `json:"build_id"`
	Message         json.RawMessage `json:"message"`
	ExpiringIn      json.RawMessage `json:"expiring_in"`
}

// verifyQuay: Quay sends no credential but what stands in the URL.
func verifyQuay(ctx context.Context, r request) error { return r.verify(ctx, signing{}) }

// parseQuay reads a push with all its tags. Whatever else Quay tells is an
// ignored item: three refused requests make it switch the notification off.
func parseQuay(r request) ([]Item, error) {
	var body quayBody
	if err := decodeObject(r.body, &body); err != nil {
		return nil, err
	}
	c := claim{action: ActionPush, host: body.host(), repository: body.repository()}
	if event, reason := body.other(); reason != "" {
		c.action, c.ignored = Action(event), reason
		return []Item{r.judge(c)}, nil
	}
	tags, err := body.tags()
	if err != nil {
		return nil, err
	}
	if len(tags) == 0 {
		return []Item{r.judge(c)}, nil // recorded, with the reason
	}
	items := make([]Item, 0, len(tags))
	for _, raw := range tags {
		one := c
		if json.Unmarshal(raw, &one.tag) != nil {
			one.ignored = ReasonMalformed
		}
		items = append(items, r.judge(one))
	}
	return items, nil
}

// other names the event when it is not a push.
func (b quayBody) other() (event, reason string) {
	switch {
	case isSet(b.Vulnerability), isSet(b.Vulnerabilities):
		return "vulnerability_found", ReasonOtherEvent
	case isSet(b.BuildID):
		return "build", ReasonOtherEvent
	case isSet(b.Message):
		return "repo_mirror_sync", ReasonOtherEvent
	case isSet(b.ExpiringIn):
		return "repo_image_expiry", ReasonOtherEvent
	case !isSet(b.UpdatedTags):
		return "", ReasonUnknownEvent
	}
	return "", ""
}

// isSet reports whether a field is there and not null.
func isSet(raw json.RawMessage) bool { return len(raw) > 0 && !bytes.Equal(raw, []byte("null")) }

// tags returns the updated tags, not looked into yet.
func (b quayBody) tags() ([]json.RawMessage, error) {
	const field = "updated_tags"
	if b.UpdatedTags[0] != '{' {
		return decodeEvents(field, b.UpdatedTags)
	}
	var object map[string]json.RawMessage
	if err := decode(b.UpdatedTags, &object); err != nil {
		return nil, err
	}
	if err := checkCount(field, len(object)); err != nil {
		return nil, err
	}
	tags := make([]json.RawMessage, 0, len(object))
	for _, tag := range slices.Sorted(maps.Keys(object)) {
		quoted, err := json.Marshal(tag)
		if err != nil {
			return nil, errs.Wrap(errs.Malformed, "webhook: field "+field, err)
		}
		tags = append(tags, quoted)
	}
	return tags, nil
}

func (b quayBody) repository() string {
	switch {
	case b.Repository != "":
		return b.Repository
	case b.Namespace != "" && b.Name != "":
		return b.Namespace + "/" + b.Name
	}
	_, repository, _ := strings.Cut(b.DockerURL, "/")
	return repository
}

// host is what stands before the repository in docker_url, which has no scheme,
// like Harbor's resource_url.
func (b quayBody) host() string {
	if host := urlHost(b.DockerURL); host != "" {
		return host
	}
	return harborResource{URL: b.DockerURL}.host(b.repository())
}
