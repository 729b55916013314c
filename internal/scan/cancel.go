package scan

import (
	"errors"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// canceledError ends a scan that somebody does not want any more.
type canceledError struct{ by string }

func (e *canceledError) Error() string { return CanceledWords(e.by) }

// Canceled is the error, of kind Canceled, that ends a scan because who, as a
// name for people, asked for it.
func Canceled(who string) error {
	return errs.Wrap(errs.Canceled, "scan", &canceledError{by: who})
}

// CanceledBy finds who ended a scan in the chain of an error; ok is false when it
// ended for another reason.
func CanceledBy(err error) (who string, ok bool) {
	var c *canceledError
	if !errors.As(err, &c) {
		return "", false
	}
	return c.by, true
}

// CanceledWords is the detail of a scan that who canceled.
func CanceledWords(who string) string { return "canceled by " + who }
