package webhook

import (
	"bytes"
	"mime"
	"net/url"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// payload is the JSON of a body that may be a form with the one field "payload",
// as GitHub and those who took its ways send it. Content-Type says which of the
// two it is, yet what begins as an object is one: no signature covers that
// header, and nobody must get a form read out of the strings of a signed object.
func (r request) payload() ([]byte, error) {
	mediaType, _, err := mime.ParseMediaType(r.header.Get("Content-Type"))
	if err != nil || mediaType != "application/x-www-form-urlencoded" || bytes.HasPrefix(bytes.TrimLeft(r.body, " \t\r\n"), []byte("{")) {
		return r.body, nil //nolint:nilerr // of a content type that cannot be read, the body decides
	}
	form, err := url.ParseQuery(string(r.body))
	if err != nil {
		return nil, errs.New(errs.Invalid, "webhook: the body is not a form, as its content type says")
	}
	if len(form["payload"]) != 1 {
		return nil, errs.New(errs.Malformed, `webhook: field "payload" of the form is there %d times, want once`, len(form["payload"]))
	}
	return []byte(form["payload"][0]), nil
}
