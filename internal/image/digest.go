// Package image holds the words for what a registry stores: references,
// digests, platforms, media types and the kinds of artifact behind a manifest.
//
// It is responsible for parsing and validating them in one place. It must not
// do I/O.
package image

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Digest is a content digest as OCI writes it, "sha256:<64 hex>" or
// "sha512:<128 hex>" (OCI image-spec, descriptor.md, "Digests").
type Digest string

// ParseDigest checks s and returns it as a Digest, or an error of kind Invalid.
func ParseDigest(s string) (Digest, error) {
	algorithm, encoded, ok := strings.Cut(s, ":")
	want := map[string]int{"sha256": 64, "sha512": 128}[algorithm]
	if !ok || want == 0 || len(encoded) != want || !isLowerHex(encoded) {
		return "", errs.New(errs.Invalid, "image: digest %.150q is not sha256:<64 hex> or sha512:<128 hex>", s)
	}
	return Digest(s), nil
}

// DigestOf returns the sha256 digest of b.
func DigestOf(b []byte) Digest {
	sum := sha256.Sum256(b)
	return Digest("sha256:" + hex.EncodeToString(sum[:]))
}

// Short returns the first twelve hex digits, for people.
func (d Digest) Short() string {
	_, encoded, _ := strings.Cut(string(d), ":")
	if len(encoded) > 12 {
		return encoded[:12]
	}
	return encoded
}

// LooksLikeDigest reports whether s has the form of a digest of any algorithm;
// several registries put one into their tag field.
func LooksLikeDigest(s string) bool {
	algorithm, encoded, ok := strings.Cut(s, ":")
	return ok && algorithm != "" && len(encoded) >= 32 && isLowerHex(encoded)
}

func isLowerHex(s string) bool {
	return strings.Trim(s, "0123456789abcdef") == ""
}

// Platform is the platform of an image as its config or index entry says
// (OCI image-spec, image-index.md, "platform").
type Platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant,omitempty"`
	OSVersion    string `json:"os_version,omitempty"`
}

// String returns "os/arch[/variant]", "" for an empty platform.
func (p Platform) String() string {
	if p.OS == "" && p.Architecture == "" {
		return ""
	}
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// ParsePlatform reads "os/arch[/variant]".
func ParsePlatform(s string) (Platform, error) {
	parts := strings.Split(s, "/")
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || parts[1] == "" {
		return Platform{}, errs.New(errs.Invalid, "image: platform %.80q is not os/arch or os/arch/variant", s)
	}
	p := Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p, nil
}

// Matches reports whether p is what the filter asks for; empty fields of the
// filter match anything.
func (p Platform) Matches(filter Platform) bool {
	return (filter.OS == "" || filter.OS == p.OS) &&
		(filter.Architecture == "" || filter.Architecture == p.Architecture) &&
		(filter.Variant == "" || filter.Variant == p.Variant)
}

var _ fmt.Stringer = Platform{}
