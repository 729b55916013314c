package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
)

// harborBody holds both bodies Harbor can send: the default one (type, occur_at,
// event_data) and a structured CloudEvent (specversion, id, time, data). The
// operator is called the same in both.
type harborBody struct {
	Type     string          `json:"type"`
	Operator string          `json:"operator"`
	OccurAt  json.RawMessage `json:"occur_at"` // seconds; anything else is no time
	Event    *harborData     `json:"event_data"`

	SpecVersion string      `json:"specversion"`
	ID          string      `json:"id"`
	Time        string      `json:"time"`
	Data        *harborData `json:"data"`
}

type harborData struct {
	Resources  []harborResource `json:"resources"`
	Repository struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
		FullName  string `json:"repo_full_name"`
	} `json:"repository"`
}

type harborResource struct {
	Digest string `json:"digest"`
	Tag    string `json:"tag"`
	URL    string `json:"resource_url"`
}

// verifyHarbor: Harbor sends the policy's "Auth Header" verbatim as
// Authorization and cannot sign.
func verifyHarbor(ctx context.Context, r request) error { return r.verify(ctx, signing{}) }

// parseHarbor reads both bodies; what tells them apart is specversion, which a
// CloudEvent must have (CloudEvents 1.0, "REQUIRED Attributes").
func parseHarbor(r request) ([]Item, error) {
	var body harborBody
	if err := decodeObject(r.body, &body); err != nil {
		return nil, err
	}
	data := body.Event
	if body.SpecVersion != "" {
		data = body.Data
	}
	if body.Type == "" && data == nil {
		return nil, nil
	}
	if data == nil {
		data = &harborData{}
	}
	if err := checkCount("resources", len(data.Resources)); err != nil {
		return nil, err
	}
	resources := data.Resources
	if len(resources) == 0 {
		resources = []harborResource{{}} // recorded, with the reason
	}
	items := make([]Item, 0, len(resources))
	for _, resource := range resources {
		items = append(items, r.judge(body.claim(data.repository(), resource)))
	}
	return items, nil
}

func (b harborBody) claim(repository string, resource harborResource) claim {
	action, ignored := harborAction(b.Type)
	return claim{
		action:     action,
		host:       resource.host(repository),
		repository: repository,
		tag:        resource.Tag,
		digest:     resource.Digest,
		actor:      b.Operator,
		eventID:    b.eventID(),
		occurredAt: b.occurredAt(),
		ignored:    ignored,
		key:        b.key(repository, resource),
	}
}

// harborAction translates the event types of Harbor 2 in both bodies and the
// older ones, which compatible registries still send.
func harborAction(eventType string) (action Action, ignored string) {
	switch eventType {
	case "PUSH_ARTIFACT", "harbor.artifact.pushed", "pushImage":
		return ActionPush, ""
	case "DELETE_ARTIFACT", "harbor.artifact.deleted", "deleteImage":
		return ActionDelete, ""
	case "PULL_ARTIFACT", "harbor.artifact.pulled", "pullImage":
		return "pull", ReasonPull
	}
	name := strings.TrimPrefix(strings.ToLower(eventType), "harbor.")
	switch {
	case strings.Contains(name, "chart"):
		return Action(eventType), ReasonChart
	case hasAnyPrefix(name, "scan", "quota", "replication", "tag_retention"):
		return Action(eventType), ReasonOtherEvent
	}
	return Action(eventType), ReasonUnknownEvent
}

func hasAnyPrefix(s string, prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}

func (d harborData) repository() string {
	if d.Repository.FullName != "" || d.Repository.Name == "" {
		return d.Repository.FullName
	}
	return strings.TrimPrefix(d.Repository.Namespace+"/"+d.Repository.Name, "/")
}

// host takes the host from "host/repository:tag" or "host/repository@digest",
// which has no scheme in Harbor and may have one elsewhere. A project may be
// called like a host, so a URL that starts with the repository itself has none.
func (h harborResource) host(repository string) string {
	if strings.Contains(h.URL, "://") {
		return urlHost(h.URL)
	}
	if rest, ok := strings.CutPrefix(h.URL, repository); ok && repository != "" && (rest == "" || rest[0] == ':' || rest[0] == '@') {
		return ""
	}
	host, _, ok := strings.Cut(h.URL, "/")
	if !ok {
		return ""
	}
	return host
}

// eventID is the CloudEvent's; the default body has none.
func (b harborBody) eventID() string {
	if b.SpecVersion == "" {
		return ""
	}
	return b.ID
}

// key of a default body is taken from the fields a retry repeats. Without a
// time nothing tells a retry from a new push, so the request gets its own key.
func (b harborBody) key(repository string, resource harborResource) string {
	if id := b.eventID(); id != "" {
		return idKey(id)
	}
	occurred := b.occurredAt()
	if occurred.IsZero() {
		return ""
	}
	return contentKey("event", b.Type, repository, resource.Tag, resource.Digest, occurred.UTC().Format(time.RFC3339Nano))
}

func (b harborBody) occurredAt() time.Time {
	if b.SpecVersion != "" {
		return parseTime(b.Time)
	}
	seconds, err := strconv.ParseInt(string(bytes.Trim(b.OccurAt, `"`)), 10, 64)
	if err != nil || seconds <= 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}
