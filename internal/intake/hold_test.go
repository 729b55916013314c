package intake

import (
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/webhook"
)

func TestWhichPushesWait(t *testing.T) {
	settings := Settings{UntaggedHold: 10 * time.Second, Coalesce: 2 * time.Second}
	digest := image.DigestOf([]byte("x"))
	for _, c := range []struct {
		name  string
		event webhook.Event
		want  time.Duration
	}{
		{"a tag with its digest", webhook.Event{Action: webhook.ActionPush, Tag: "1", Digest: digest}, 0},
		{"a digest alone", webhook.Event{Action: webhook.ActionPush, Digest: digest, Flags: []string{webhook.FlagDigestOnly}}, 10 * time.Second},
		{"an index without a tag, which may be nested", webhook.Event{Action: webhook.ActionPush, Digest: digest, Flags: []string{webhook.FlagDigestOnly, webhook.FlagIndex}}, 10 * time.Second},
		{"a tag alone", webhook.Event{Action: webhook.ActionPush, Tag: "1"}, 2 * time.Second},
		{"a tag whose digest was no digest", webhook.Event{Action: webhook.ActionPush, Tag: "1", Flags: []string{webhook.FlagDigestDropped}}, 2 * time.Second},
		{"a deleted tag", webhook.Event{Action: webhook.ActionDelete, Tag: "1"}, 0},
		{"a deleted digest", webhook.Event{Action: webhook.ActionDelete, Digest: digest, Flags: []string{webhook.FlagDigestOnly}}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := settings.hold(c.event); got != c.want {
				t.Errorf("waits %v, want %v", got, c.want)
			}
			if got := (Settings{}).hold(c.event); got != 0 {
				t.Errorf("without settings it waits %v", got)
			}
		})
	}
}

// TestAQuarantinedPushIsAskedForByDigest: its tag leads to the image before it
// or to none until the release.
func TestAQuarantinedPushIsAskedForByDigest(t *testing.T) {
	held := webhook.Event{Action: webhook.ActionPush, Tag: "1", Digest: image.DigestOf([]byte("x")), Flags: []string{webhook.FlagQuarantine}}
	free, lost := held, held
	free.Flags, lost.Digest = nil, ""
	if !byDigest(held) || byDigest(free) || byDigest(lost) {
		t.Errorf("by digest: held %v, released %v, without a digest %v", byDigest(held), byDigest(free), byDigest(lost))
	}
}
