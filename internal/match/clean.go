package match

import (
	"strings"
	"unicode/utf8"

	"github.com/tidewaiter/tidewaiter/internal/image"
)

// Lengths in bytes to which strings of an image are cut. Names and purls are
// indexed, and a B-tree page of Postgres takes 2,704 bytes.
const (
	maxName    = 1000
	maxVersion = 500
	maxPURL    = 2000
	maxCPE     = 2000
	maxText    = 1000
	maxPath    = 4096
)

// clean makes a string of an image fit to be stored and compared: valid UTF-8
// without NUL, which Postgres cannot hold, and no longer than limit. What is
// cut keeps a part of its digest, so that two long names stay two names.
func clean(s string, limit int) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	}
	if len(s) <= limit {
		return s
	}
	mark := "~" + image.DigestOf([]byte(s)).Short()
	cut := limit - len(mark)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + mark
}

func cleanAll(list []string, limit int) []string {
	if len(list) == 0 {
		return nil
	}
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = clean(s, limit)
	}
	return out
}
