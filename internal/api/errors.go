package api

import (
	"errors"
	"net/http"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// withField names the input that an error is about.
func withField(err error, field string) error {
	return (&errs.Error{Kind: errs.KindOf(err), Op: field, Err: err, Hint: errs.Hint(err)}).WithField(field)
}

// bodyError gives what breaks while a body is read its kind. Whatever is not
// told apart is the sender's fault: a body that ends early, or is not JSON.
func bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	var known *errs.Error
	switch {
	case errors.As(err, &known):
		return err
	case errors.As(err, &tooLarge):
		return errs.New(errs.TooLarge, "the body is larger than %d bytes", tooLarge.Limit).WithField("body")
	}
	return errs.Wrap(errs.Invalid, "body", err)
}
