package webhook

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/image"
)

// garNotice is what Artifact Registry publishes in topic gcr ("Configuring
// Pub/Sub notifications"). Digest and tag are whole references.
type garNotice struct {
	Action string `json:"action"`
	Digest string `json:"digest"`
	Tag    string `json:"tag"`
}

// pubsubBody is the envelope of a push subscription ("Receive push messages").
type pubsubBody struct {
	Message      json.RawMessage `json:"message"`
	Subscription string          `json:"subscription"`
}

type pubsubMessage struct {
	Data       string `json:"data"` // base64
	ID         string `json:"messageId"`
	OldID      string `json:"message_id"`
	Published  string `json:"publishTime"`
	OldPublish string `json:"publish_time"`
}

// delivery is what is known of a message beside its data.
type delivery struct{ id, published string }

// verifyGARPubSub: Pub/Sub adds a token of Google, of the account the
// subscription names. An address with a secret in it is the other way.
func verifyGARPubSub(ctx context.Context, r request) error { return r.verify(ctx, signing{}) }

// parseGARPubSub reads a message, in its envelope or without ("Payload
// unwrapping"). Pub/Sub repeats what is refused for up to seven days, so data
// that cannot be read is an item: somebody else has published in the topic.
func parseGARPubSub(r request) ([]Item, error) {
	var body pubsubBody
	about := r.unwrapped()
	if err := decodeObject(r.body, &body); err != nil {
		if about.id == "" {
			return nil, err
		}
		return []Item{r.judge(about.claim(claim{ignored: ReasonMalformed}))}, nil
	}
	if body.Message == nil {
		return []Item{r.judge(about.claim(garClaim(r.body)))}, nil
	}
	var m pubsubMessage
	if err := decodeObject(body.Message, &m); err != nil {
		return nil, err
	}
	about = delivery{id: cmp.Or(m.ID, m.OldID), published: cmp.Or(m.Published, m.OldPublish)}
	data, err := base64.StdEncoding.DecodeString(m.Data)
	if err != nil {
		return []Item{r.judge(about.claim(claim{ignored: ReasonMalformed}))}, nil //nolint:nilerr // refused, it would come again for a week
	}
	return []Item{r.judge(about.claim(garClaim(data)))}, nil
}

// garClaim reads the data of a message.
func garClaim(data []byte) claim {
	var notice garNotice
	if err := decodeObject(data, &notice); err != nil {
		return claim{ignored: ReasonMalformed}
	}
	return notice.claim()
}

// unwrapped reads the headers of a message without envelope; they are missing
// unless the subscription writes metadata.
func (r request) unwrapped() delivery {
	return delivery{id: r.header.Get("X-Goog-Pubsub-Message-Id"), published: r.header.Get("X-Goog-Pubsub-Publish-Time")}
}

// claim adds what is known of the message. Without an id, the content with the
// time it was published at is the same when Pub/Sub tries again.
func (d delivery) claim(c claim) claim {
	c.eventID, c.key, c.occurredAt = d.id, idKey(d.id), parseTime(d.published)
	if c.key == "" && !c.occurredAt.IsZero() {
		c.key = contentKey("event", string(c.action), c.host, c.repository, c.tag, c.digest, c.occurredAt.UTC().Format(time.RFC3339Nano))
	}
	return c
}

// claim reads a notice. Both references name the same repository; one that does
// not is none of Artifact Registry's.
func (n garNotice) claim() claim {
	host, repository, digest := cutReference(n.Digest, "@")
	tagHost, tagRepository, tag := cutReference(n.Tag, ":")
	c := claim{host: cmp.Or(host, tagHost), repository: cmp.Or(repository, tagRepository), tag: tag, digest: digest}
	switch n.Action {
	case "INSERT":
		c.action = ActionPush
	case "DELETE":
		c.action = ActionDelete
	default:
		c.action, c.ignored = Action(n.Action), ReasonUnknownEvent
	}
	switch {
	case c.ignored != "":
	case n.Digest == "" && n.Tag == "":
		c.ignored = ReasonNoReference
	case n.Digest != "" && n.Tag != "" && (host != tagHost || repository != tagRepository):
		c.ignored = ReasonMalformed
	}
	return c
}

// cutReference cuts "host/repository:tag" or "host/repository@digest". In these
// the host is always there.
func cutReference(s, mark string) (host, repository, rest string) {
	if len(s) > maxReference {
		return "", "", ""
	}
	host, repository, _ = strings.Cut(s, "/")
	repository, rest, _ = strings.Cut(repository, mark)
	return image.CanonicalHost(host), repository, rest
}
