package postgres

import "strings"

// cleanText makes a string storable: Postgres text holds neither NUL nor
// invalid UTF-8, and both come in names that images and registries choose.
func cleanText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// cleanAll cleans every string; nil becomes empty.
func cleanAll(all []string) []string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = cleanText(s)
	}
	return out
}
