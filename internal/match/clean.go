package match

import (
	"bytes"
	"encoding/json"
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
		s = string([]rune(s)) // each bad byte by itself, as JSON has it
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

// cleanJSON takes NULs out of the strings of a JSON document; Postgres cannot
// hold them in jsonb either. A document without any comes back as it is.
func cleanJSON(document json.RawMessage) json.RawMessage {
	if !bytes.Contains(document, []byte(`\u0000`)) {
		return document
	}
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return json.RawMessage("null") // encoded by us; cannot happen
	}
	return encode(cleanValue(value))
}

func cleanValue(value any) any {
	switch v := value.(type) {
	case string:
		return strings.ReplaceAll(v, "\x00", "\uFFFD")
	case []any:
		for i := range v {
			v[i] = cleanValue(v[i])
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[strings.ReplaceAll(k, "\x00", "\uFFFD")] = cleanValue(e)
		}
		return out
	}
	return value
}
