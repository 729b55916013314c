package housetest

import (
	"strings"
	"testing"
)

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range sorted(sources(t)) {
		if len(strings.Fields(p.doc)) < 10 {
			t.Errorf("%s has no package comment that says what it is responsible for and what it must not do", p.path)
		}
	}
}
