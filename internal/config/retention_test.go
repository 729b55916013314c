package config

import (
	"testing"
	"time"
)

func TestRetentionIsRead(t *testing.T) {
	c, problems := load([]byte(minimal+`retention: {interval: 0s, untagged: 0s, history: 400d, deliveries: 720h}`), "", environment())
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	r := c.Retention
	if r.Interval != 0 || r.Untagged != 0 || r.History != 400*24*time.Hour || r.Deliveries != 720*time.Hour || r.Gone != 30*24*time.Hour {
		t.Errorf("%+v", r)
	}
}

func TestRetentionRefusesWhatWouldTakeThePresent(t *testing.T) {
	for name, text := range map[string]string{
		"retention.interval": "1m", "retention.untagged": "1h", "retention.gone": "23h59m59s", "retention.sboms": "-24h", "retention.history": "1s",
		"retention.events": "1h", "retention.deliveries": "29d", "retention.scans": "1h", "retention.reconciliations": "1h",
	} {
		_, problems := load([]byte(minimal+"retention: {"+name[len("retention."):]+": "+text+"}"), "", environment())
		if len(problems) != 1 || problems[0].Path != name {
			t.Errorf("%s of %s: %v", name, text, problems)
		}
	}
	if _, problems := load([]byte(minimal+"retention: {gone: 24h}"), "", environment()); len(problems) > 0 {
		t.Error(problems)
	}
}
