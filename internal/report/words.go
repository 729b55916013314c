package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
)

// otherRegistry is the receiver's reason for an event that names another host.
const otherRegistry = "other_registry"

// ignoredWords say why an event asked for nothing, by the receiver's reason.
var ignoredWords = map[string]string{
	"pull":           "it tells of a download",
	"mount":          "it tells of a layer that was taken from another repository",
	"blob":           "it tells of a single layer or config",
	"chart":          "it tells of a Helm chart",
	"signature":      "it tells of a signature",
	"attestation":    "it tells of an attestation",
	otherRegistry:    "it names a host that is not one of this registry's",
	"bad_repository": "its repository breaks the grammar of names",
	"no_reference":   "it names neither a usable tag nor a usable digest",
	"ping":           "it is a test call",
	"referrer":       "it tells of something that refers to an image and is none itself",
	"artifact":       "it tells of an artifact that is neither an image nor about one",
	"other_event":    "it tells of something else than content",
	"unknown_event":  "its action or type is not known",
	"malformed":      "it has the wrong shape",
}

// IgnoredWords says in words why an event was ignored; known is false for a
// reason without words, which is repeated.
func IgnoredWords(reason string) (words string, known bool) {
	if words, known = ignoredWords[reason]; known {
		return words, true
	}
	return "its reason is " + reason, false
}

// failureWords are the words and the next step for a scan that failed for a
// kind of error.
var failureWords = map[errs.Kind]struct{ words, next string }{
	errs.Unauthorized: {"the registry refused the credential", "check auth of the registry in the configuration, then ask for a scan with POST /api/v1/scans"},
	errs.Forbidden:    {"the credential may not read this repository", "give the account of the registry the right to pull it, then ask for a scan with POST /api/v1/scans"},
	errs.NotFound:     {"the registry does not have it", "push it again, or check its name and that the account of the registry may read it: many registries say the same of both"},
	errs.RateLimited:  {"the registry asks to slow down", "lower limits.requests_per_second of the registry, or log in to it"},
	errs.Unavailable:  {"the registry does not answer", "check that this machine reaches the registry; reconcile finds what was missed"},
	errs.Timeout:      {"it took too long", "raise limits.image_time, or workers.job_timeout, if the image is that large"},
	errs.TooLarge:     {"it is larger than the limits allow", "raise the limit that the reason names, under limits in the configuration"},
	errs.Bomb:         {"it unpacks to far more than it is, as nothing does that was not made to", "if it is meant to, raise limits.unpacked_ratio"},
	errs.Malformed:    {"its content is damaged", "push it again"},
	errs.Invalid:      {"the registry's answer makes no sense", "look at the reason, then ask for a scan with POST /api/v1/scans"},
}

// failure says why a scan failed, and what to do.
func failure(reason string) (words, next string) {
	if w, ok := failureWords[errs.Kind(reason)]; ok {
		return w.words, w.next
	}
	return "something went wrong", "look for the scan in the log of the workers, then ask for a scan with POST /api/v1/scans"
}

// unsupportedWords say what a manifest is that cannot be scanned.
var unsupportedWords = map[string]string{
	string(image.KindEncrypted):   "an encrypted image",
	string(image.KindSchema1):     "an image in Docker's first format, which was given up in 2017; push it again with a newer client",
	string(image.KindAttestation): "an attestation",
	string(image.KindSignature):   "a signature",
	string(image.KindSBOMFile):    "an SBOM that somebody keeps beside an image",
	string(image.KindHelmChart):   "a Helm chart",
	string(image.KindWASM):        "a WebAssembly module",
	string(image.KindModel):       "a language model",
	string(image.KindReferrer):    "an artifact that refers to an image",
	string(image.KindArtifact):    "an artifact that is no image",
	string(image.KindUnknown):     "of a kind that is not known",
	"nested_index":                "an index inside an index; its images are scanned with the outer one",
	"no_image":                    "an index without an image to scan",
	string(errs.Unsupported):      "an image with something that cannot be unpacked",
}

func unsupported(reason string) string {
	if words, ok := unsupportedWords[reason]; ok {
		return words
	}
	return "of a kind that cannot be scanned"
}

// ago says how long something is past, in the largest unit that fits.
func ago(d time.Duration) string {
	if d < 5*time.Second {
		return "just now"
	}
	return span(d) + " ago"
}

// span is a duration in one unit.
func span(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", max(int(d.Seconds()), 0))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// brief is how long something took, in a unit that shows it.
func brief(seconds float64) string {
	if seconds < 1 {
		return fmt.Sprintf("%.0f ms", seconds*1000)
	}
	return fmt.Sprintf("%.1f s", seconds)
}

// volume is a number of bytes, in a unit that shows it.
func volume(n int64) string {
	if n < 1e6 {
		return fmt.Sprintf("%d kB", (n+999)/1000)
	}
	return fmt.Sprintf("%.1f MB", megabytes(n))
}

// many writes a count with its noun; plurals are regular.
func many(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// short is a digest as people recognise it.
func short(d image.Digest) string {
	algorithm, hex, ok := strings.Cut(string(d), ":")
	if !ok || len(hex) <= 12 {
		return string(d)
	}
	return algorithm + ":" + hex[:12]
}

// because adds a detail to words, where there is one.
func because(words, detail string) string {
	if detail == "" {
		return words
	}
	return words + ": " + detail
}
