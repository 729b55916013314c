package text_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tidewaiter/tidewaiter/internal/text"
)

func TestClean(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"plain", "openssl", "openssl"},
		{"nul", "a\x00b", "a\uFFFDb"},
		{"invalid UTF-8", "a\xff\xfeb", "a\uFFFD\uFFFDb"},
		{"half a letter", "a\xc3", "a\uFFFD"},
		{"empty", "", ""},
		{"commands stay", "a\n\x1b[31m\u202eb", "a\n\x1b[31m\u202eb"},
	} {
		if got := text.Clean(tt.in, text.Name); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		if got := text.Valid(tt.in); got != tt.want {
			t.Errorf("%s: valid %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestWhatIsCutStaysApart(t *testing.T) {
	long := strings.Repeat("é", 1000)
	for _, limit := range []int{text.Name, text.Name + 1, 20, 13, 5} {
		cut := text.Clean(long, limit)
		if len(cut) > max(limit, 13) || !utf8.ValidString(cut) {
			t.Errorf("limit %d: %d bytes, valid %v", limit, len(cut), utf8.ValidString(cut))
		}
		if cut == text.Clean(long+"x", limit) {
			t.Errorf("limit %d: two names became one", limit)
		}
		if cut != text.Clean(long, limit) {
			t.Errorf("limit %d: one name became two", limit)
		}
		if limit >= 13 && text.Clean(cut, limit) != cut {
			t.Errorf("limit %d: cut twice it is another", limit)
		}
	}
}

func TestCleanAll(t *testing.T) {
	if got := text.CleanAll(nil, 5); got != nil {
		t.Errorf("got %q of nothing", got)
	}
	if got := text.CleanAll([]string{"a\x00", "b"}, 50); len(got) != 2 || got[0] != "a\uFFFD" || got[1] != "b" {
		t.Errorf("got %q", got)
	}
}
