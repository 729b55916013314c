package webhook

import (
	"net/http"
	"time"
)

// format is how one sender speaks. Both functions are pure: no I/O, no clock.
type format struct {
	name string
	// kinds are the ways of authentication the sender can be configured for.
	kinds []string
	// verify checks the credential on the raw body. It returns an error of kind
	// Unauthorized unless the request carries the credential of auth.
	verify func(auth Auth, header http.Header, body []byte) error
	// parse reads the events of a verified request. It returns an error of kind
	// Invalid for a body that is not JSON, Malformed or Unsupported for one that
	// does not belong here. An item without a DedupeKey gets one of its own.
	parse func(request) ([]Item, error)
}

// request is all that a parser sees of a request.
type request struct {
	endpoint Endpoint
	header   http.Header
	body     []byte
	received time.Time
}

// formats is the table of senders.
func formats() []format {
	return []format{
		{"distribution", []string{AuthBearer, AuthHeader, AuthNone}, verifyDistribution, parseDistribution},
		{"harbor", []string{AuthHeader, AuthBearer, AuthNone}, verifyHarbor, parseHarbor},
		{"generic", []string{AuthBearer, AuthHMACSHA256, AuthHeader, AuthNone}, verifyGeneric, parseGeneric},
	}
}

// Formats lists the names an endpoint's format can have.
func Formats() []string {
	var names []string
	for _, f := range formats() {
		names = append(names, f.name)
	}
	return names
}

func findFormat(name string) (format, bool) {
	for _, f := range formats() {
		if f.name == name {
			return f, true
		}
	}
	return format{}, false
}
