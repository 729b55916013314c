package config

import (
	"strings"
	"testing"
	"time"
)

func TestHoldsOfTheReceiver(t *testing.T) {
	for _, c := range []struct {
		name, receiver     string
		untagged, coalesce time.Duration
		problem            string
	}{
		{"defaults", "{}", 10 * time.Second, 2 * time.Second, ""},
		{"none", "{untagged_hold: 0s, coalesce: 0s}", 0, 0, ""},
		{"negative", "{untagged_hold: -1s}", 0, 0, "receiver.untagged_hold: -1s is not between 0s and 1h0m0s"},
		{"endless", "{coalesce: 2h}", 0, 0, "receiver.coalesce: 2h0m0s is not between 0s and 1h0m0s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, problems := load([]byte(minimal+"\nreceiver: "+c.receiver+"\n"), "", environment())
			if c.problem != "" {
				if !strings.Contains(problems.Error(), c.problem) {
					t.Fatalf("got %v, want %s", problems, c.problem)
				}
				return
			}
			if problems != nil {
				t.Fatal(problems)
			}
			if got.Receiver.UntaggedHold != c.untagged || got.Receiver.Coalesce != c.coalesce {
				t.Errorf("got %+v", got.Receiver)
			}
		})
	}
}
