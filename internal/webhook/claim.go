package webhook

import (
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/tidewaiter/tidewaiter/internal/image"
)

// claim is what a payload says of one event, not believed yet.
type claim struct {
	// action is push or delete; of an ignored event, the sender's own word.
	action     Action
	host       string // any form; "" when the payload names none
	repository string
	tag        string
	digest     string
	mediaType  string
	actor      string
	eventID    string
	occurredAt time.Time
	// ignored is the reason the format itself found, if any.
	ignored string
	key     string
}

// The lengths strings of a payload are cut to, in characters.
const (
	maxWord       = 64
	maxText       = 256
	maxRepository = 255
)

var oldest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// judge turns a claim into an item: every string is bounded and clean, and what
// is not worth a scan carries the reason.
func (r request) judge(c claim) Item {
	e := Event{
		Action:     Action(clean(string(c.action), maxWord)),
		Host:       clean(image.CanonicalHost(c.host), maxText),
		Repository: clean(c.repository, maxRepository),
		MediaType:  clean(c.mediaType, maxText),
		Actor:      clean(c.actor, maxText),
		EventID:    clean(c.eventID, maxText),
		OccurredAt: saneTime(c.occurredAt, r.received),
	}
	if image.IsIndexType(e.MediaType) {
		e.Flags = append(e.Flags, FlagIndex)
	}
	e.pointTo(c.tag, c.digest)
	return Item{Event: e, Ignored: r.reason(c, e), DedupeKey: c.key}
}

// pointTo sets tag, digest and their flags. A tag that is none is left out (a
// digest found in its place is taken); an invalid digest is left out as well.
func (e *Event) pointTo(tag, digest string) {
	if digest == "" && image.LooksLikeDigest(tag) {
		digest = tag
	}
	if image.IsTag(tag) {
		e.Tag = tag
	}
	valid, err := image.ParseDigest(digest)
	e.Digest = valid
	if e.Tag == "" && e.Digest != "" {
		e.Flags = append(e.Flags, FlagDigestOnly)
	}
	if err != nil && digest != "" {
		e.Flags = append(e.Flags, FlagDigestDropped)
	}
}

// reason says why an event is ignored, "" when it is accepted. The host comes
// first: what another registry calls its repositories does not concern us.
func (r request) reason(c claim, e Event) string {
	switch {
	case c.ignored != "":
		return c.ignored
	case e.Host != "" && !r.endpoint.answersTo(e.Host):
		return ReasonOtherRegistry
	case !isRepository(c.repository):
		return ReasonBadRepository
	case image.IsSignatureTag(e.Tag):
		return ReasonSignature
	case image.IsChartType(e.MediaType):
		return ReasonChart
	case e.Tag == "" && e.Digest == "":
		return ReasonNoReference
	}
	return ""
}

// repositoryPattern is the grammar of a name (OCI distribution-spec, "Pulling
// manifests").
var repositoryPattern = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)

func isRepository(s string) bool {
	return len(s) <= maxRepository && repositoryPattern.MatchString(s)
}

// clean drops control and format characters and cuts to limit characters.
// Invalid UTF-8 becomes U+FFFD.
func clean(s string, limit int) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if !unicode.IsGraphic(r) {
			continue
		}
		if n == limit {
			break
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}

// saneTime bounds a time the sender chose; see Event.OccurredAt.
func saneTime(t, received time.Time) time.Time {
	if t.Before(oldest) || t.After(received.Add(24*time.Hour)) {
		return received.UTC()
	}
	return t.UTC()
}

// parseTime reads RFC 3339; anything else is the zero time.
func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return t
}

// urlHost returns the host of an absolute URL, "" for anything else.
func urlHost(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" {
		return ""
	}
	return u.Host
}
