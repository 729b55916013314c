package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"
	"time"
)

// msrBody is what Mirantis Secure Registry, once Docker Trusted Registry, sends
// (MSR documentation, "Manage content structure using API").
type msrBody struct {
	Type      string          `json:"type"`
	CreatedAt string          `json:"createdAt"`
	Contents  json.RawMessage `json:"contents"`
}

type msrContents struct {
	Namespace  string `json:"namespace"`
	Repository string `json:"repository"`
	Tag        string `json:"tag"`
	Digest     string `json:"digest"`
	ImageName  string `json:"imageName"` // host/namespace/repository:tag
	Author     string `json:"author"`
	PushedAt   string `json:"pushedAt"`
	DeletedAt  string `json:"deletedAt"`
}

// msrTestDigest is what the Test button sends: the digest of "foo" and a
// newline, which no manifest has.
const msrTestDigest = "sha256:b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c"

// verifyMirantisMSR: the sender knows nothing but the URL.
func verifyMirantisMSR(ctx context.Context, r request) error { return r.verify(ctx, signing{}) }

// parseMirantisMSR reads the one event of a request. What an event we ignore
// contains may have any shape.
func parseMirantisMSR(r request) ([]Item, error) {
	var body msrBody
	if err := decodeObject(r.body, &body); err != nil {
		return nil, err
	}
	action, ignored := msrAction(body.Type)
	var contents msrContents
	if err := body.read(&contents); err != nil && ignored == "" {
		return nil, err
	}
	if contents.Digest == msrTestDigest {
		ignored = ReasonPing
	}
	c := claim{
		action: action, host: contents.host(), repository: contents.repository(), tag: contents.Tag, digest: contents.Digest,
		actor: contents.Author, occurredAt: body.occurredAt(contents), ignored: ignored, key: body.key(contents),
	}
	return []Item{r.judge(c)}, nil
}

// read reads the contents; none are like empty ones.
func (b msrBody) read(contents *msrContents) error {
	if len(b.Contents) == 0 {
		return nil
	}
	return decodeObject(b.Contents, contents)
}

func msrAction(eventType string) (action Action, ignored string) {
	switch eventType {
	case "TAG_PUSH", "MANIFEST_PUSH":
		return ActionPush, ""
	case "TAG_DELETE", "MANIFEST_DELETE":
		return ActionDelete, ""
	case "TAG_PULL", "MANIFEST_PULL":
		return "pull", ReasonPull
	}
	switch {
	case hasAnyPrefix(eventType, "CHART_"):
		return Action(eventType), ReasonChart
	case hasAnyPrefix(eventType, "SCAN", "PROMOTION", "PUSH_MIRRORING", "POLL_MIRRORING", "REPO_"):
		return Action(eventType), ReasonOtherEvent
	}
	return Action(eventType), ReasonUnknownEvent
}

func (c msrContents) repository() string {
	return strings.TrimPrefix(c.Namespace+"/"+c.Repository, "/")
}

// host is what stands before the repository in the image's name; some events
// leave it out.
func (c msrContents) host() string {
	name := c.ImageName
	if at := strings.IndexByte(name, '@'); at >= 0 {
		name = name[:at]
	}
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		name = name[:colon]
	}
	host, _ := strings.CutSuffix(name, "/"+c.repository())
	if host == name {
		return ""
	}
	return host
}

func (b msrBody) occurredAt(c msrContents) time.Time {
	return parseTime(cmp.Or(b.CreatedAt, c.PushedAt, c.DeletedAt))
}

// key is the content with its time, which a retry repeats; there is no id.
func (b msrBody) key(c msrContents) string {
	if b.occurredAt(c).IsZero() {
		return ""
	}
	return contentKey("event", b.Type, c.ImageName, c.repository(), c.Tag, c.Digest, b.CreatedAt, c.PushedAt, c.DeletedAt)
}
