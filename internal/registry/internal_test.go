package registry

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

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

func TestCheckKeychain(t *testing.T) {
	for _, tt := range []struct {
		keychain, host string
		ok             bool
	}{
		{KeychainECR, "123456789012.dkr.ecr.eu-central-1.amazonaws.com", true},
		{KeychainECR, "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", true},
		{KeychainECR, "public.ecr.aws", true},
		{KeychainECR, "123456789012.dkr.ecr.eu-central-1.amazonaws.com.example.com", false},
		{KeychainECR, "registry.example.com", false},
		{KeychainGoogle, "europe-west1-docker.pkg.dev", true},
		{KeychainGoogle, "gcr.io", true},
		{KeychainGoogle, "eu.gcr.io", true},
		{KeychainGoogle, "evilgcr.io", false},
		{KeychainGoogle, "pkg.dev.example.com", false},
		{KeychainACR, "shop.azurecr.io", true},
		{KeychainACR, "shop.azurecr.io.example.com", false},
		{KeychainACR, "azurecr.io", false},
		{"vault", "registry.example.com", false},
		{"", "registry.example.com", false},
	} {
		err := CheckKeychain(tt.keychain, tt.host)
		if (err == nil) != tt.ok || err != nil && !errs.Is(err, errs.Invalid) {
			t.Errorf("CheckKeychain(%q, %q) returned %v", tt.keychain, tt.host, err)
		}
	}
}

func TestWhatACloudSaysIsCut(t *testing.T) {
	for text, want := range map[string]string{
		"no identity\nsecret: x": "no identity",
		"adal: Refresh request failed. Status Code = '400'. Response body: {secret}": "adal: Refresh request failed. Status Code = '400'.",
	} {
		if got := cloudSays(errors.New(text)); got != want {
			t.Errorf("%q became %q", text, got)
		}
	}
	at := &url.Error{Op: "Get", URL: "http://169.254.169.254/x?secret", Err: errors.New("refused")}
	if got := cloudSays(fmt.Errorf("token: %w", at)); got != "refused" {
		t.Errorf("an address was told: %q", got)
	}
}
