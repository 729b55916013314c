package postgres

import "github.com/tidewaiter/tidewaiter/internal/text"

// cleanText makes a string storable. How long it may be is not decided here.
func cleanText(s string) string { return text.Valid(s) }

// cleanAll cleans every string; nil becomes empty.
func cleanAll(all []string) []string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = cleanText(s)
	}
	return out
}
