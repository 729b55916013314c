package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// dockerHub is the only registry that sends this format.
const dockerHub = "docker.io"

// dockerhubBody is what Docker Hub posts for a push; it has no other event.
// callback_url, which once wanted an answer, is not even read: a URL of a payload
// is never visited.
type dockerhubBody struct {
	Push       *dockerhubPush `json:"push_data"`
	Repository struct {
		FullName  string `json:"repo_name"`
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
		URL       string `json:"repo_url"`
	} `json:"repository"`
}

type dockerhubPush struct {
	Tag      string          `json:"tag"`
	PushedAt json.RawMessage `json:"pushed_at"` // seconds; anything else is no time
	Pusher   string          `json:"pusher"`
	// MediaType is that of the config, which tells charts from images.
	MediaType string `json:"media_type"`
}

// verifyDockerhub: Docker Hub sends no credential but what stands in the URL.
func verifyDockerhub(ctx context.Context, r request) error { return r.verify(ctx, signing{}) }

// parseDockerhub reads a push. It names a tag and never a digest: the "images"
// of old bodies are ids of another kind.
func parseDockerhub(r request) ([]Item, error) {
	var body dockerhubBody
	if err := decodeObject(r.body, &body); err != nil {
		return nil, err
	}
	c := claim{host: body.host(), repository: body.repository()}
	if body.Push == nil {
		c.ignored = ReasonUnknownEvent
		return []Item{r.judge(c)}, nil
	}
	c.action = ActionPush
	c.tag = body.Push.Tag
	c.mediaType = body.Push.MediaType
	c.actor = body.Push.Pusher
	c.occurredAt = body.Push.pushedAt()
	if !c.occurredAt.IsZero() {
		c.key = contentKey("event", c.repository, c.tag, c.occurredAt.UTC().Format(time.RFC3339Nano))
	}
	return []Item{r.judge(c)}, nil
}

// repository adds the namespace that Docker Hub leaves out of official images.
func (b dockerhubBody) repository() string {
	name := b.Repository.FullName
	if name == "" && b.Repository.Namespace != "" && b.Repository.Name != "" {
		name = b.Repository.Namespace + "/" + b.Repository.Name
	}
	if name == "" {
		name = b.Repository.Name
	}
	if name != "" && !strings.Contains(name, "/") {
		name = "library/" + name
	}
	return name
}

// host is Docker Hub, whose web pages repo_url points to. A page elsewhere tells
// a registry that copies the format; its repositories are not Docker Hub's.
func (b dockerhubBody) host() string {
	u, err := url.Parse(b.Repository.URL)
	if err != nil || u.Hostname() == "" {
		return dockerHub
	}
	name := "." + strings.ToLower(u.Hostname())
	if strings.HasSuffix(name, ".docker.com") || strings.HasSuffix(name, ".docker.io") {
		return dockerHub
	}
	return u.Host
}

// pushedAt reads seconds, which come as an integer, a fraction or with an
// exponent.
func (p dockerhubPush) pushedAt() time.Time {
	const latest = 1e11 // keeps the conversion below exact; the year 5138
	seconds, err := strconv.ParseFloat(string(bytes.Trim(p.PushedAt, `"`)), 64)
	if err != nil || !(seconds > 0 && seconds < latest) {
		return time.Time{}
	}
	return time.UnixMilli(int64(seconds * 1000))
}
