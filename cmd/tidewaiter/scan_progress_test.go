package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/scan"
)

func TestProgressFollows(t *testing.T) {
	var out bytes.Buffer
	asked := make(chan struct{})
	p := &progress{w: &out}
	p.start("read 2 layers")
	stop := p.follow(func() string {
		asked <- struct{}{}
		return "1.0 MB\x1b[2J"
	})
	<-asked
	<-asked
	go func() {
		for range asked { // one more may be under way
		}
	}()
	stop()
	close(asked)
	p.done()
	if got := out.String(); !strings.Contains(got, `… read 2 layers: 1.0 MB\x1b[2J`) || !strings.HasSuffix(got, " s)\n") {
		t.Errorf("wrote %q", got)
	}
}

func TestSoFar(t *testing.T) {
	for want, p := range map[string]scan.Progress{
		"reading":                       {Phase: scan.PhasePull, BytesOf: 9},
		"12.3 MB, 1 of the layers done": {Phase: scan.PhasePull, Bytes: 12_345_678, Layers: 1},
		"all layers are there, looking for packages": {Phase: scan.PhaseCatalogue, Bytes: 9, BytesOf: 9},
	} {
		if got := soFar(p); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
