package registry

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestIsPublic(t *testing.T) {
	tests := map[string]bool{
		"8.8.8.8": true, "2606:4700::1111": true, "::ffff:8.8.8.8": true,
		"127.0.0.1": false, "::1": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false,
		"169.254.169.254": false, "fe80::1": false, "fe80::1%eth0": false, "fd00::1": false, "fec0::1": false,
		"100.64.0.1": false, "0.0.0.0": false, "0.1.2.3": false, "::": false, "255.255.255.255": false, "240.0.0.1": false,
		"224.0.0.1": false, "ff02::1": false, "198.18.0.1": false, "192.0.0.192": false,
		"::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false,
	}
	for s, want := range tests {
		if got := isPublic(netip.MustParseAddr(s)); got != want {
			t.Errorf("isPublic(%s) is %v", s, got)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	tests := map[string]time.Duration{
		"":                              0,
		"30":                            30 * time.Second,
		" 30 ":                          30 * time.Second,
		"-5":                            0,
		"9223372036854775807":           24 * time.Hour,
		"Mon, 23 Nov 2026 12:01:00 GMT": time.Minute,
		"Mon, 23 Nov 2026 11:00:00 GMT": 0,
		"Mon, 23 Nov 2099 11:00:00 GMT": 24 * time.Hour,
		"tomorrow":                      0,
	}
	for s, want := range tests {
		if got := retryAfter(s, now); got != want {
			t.Errorf("retryAfter(%q) is %s, want %s", s, got, want)
		}
	}
}

func TestCleanTellsNoSecret(t *testing.T) {
	at := &url.Error{Op: "Get", URL: "https://user:secret@example.com/?X-Amz-Signature=secret", Err: errors.New("broken\x1b[31m pipe\u202e")}
	if got := clean(at); got != "broken [31m pipe" {
		t.Errorf("clean returned %q", got)
	}
	for _, s := range []string{"no token in bearer response:\n{secret}", "token=secret", "https://example.com/?sig=secret"} {
		if got := clean(errors.New(s)); strings.Contains(got, "secret") {
			t.Errorf("clean returned %q", got)
		}
	}
}

func TestInstructionIsCutBetweenLetters(t *testing.T) {
	got := instruction(strings.Repeat("é", maxInstruction))
	if len(got) > maxInstruction+len("…") || !utf8.ValidString(got) {
		t.Errorf("%d bytes, valid %v", len(got), utf8.ValidString(got))
	}
	if s := "COPY . /"; instruction(s) != s {
		t.Errorf("a short instruction was changed")
	}
}
