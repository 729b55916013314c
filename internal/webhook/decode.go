package webhook

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

const (
	// maxDepth is how deep a body may nest. Real senders stay below ten.
	maxDepth = 64
	// maxEvents is how many events one request may carry.
	maxEvents = 5000
)

// decodeObject reads a body that has to be one JSON object into v. The error is
// of kind Invalid when it is not JSON, Malformed when it is JSON of another
// shape.
func decodeObject(body []byte, v any) error {
	trimmed := bytes.TrimLeft(body, " \t\r\n")
	if len(trimmed) == 0 {
		return errs.New(errs.Invalid, "webhook: the body is empty")
	}
	if tooDeep(trimmed) {
		return errs.New(errs.Invalid, "webhook: the body nests deeper than %d", maxDepth)
	}
	if err := decode(trimmed, v); err != nil {
		return err
	}
	if trimmed[0] != '{' {
		return errs.New(errs.Malformed, "webhook: the body is not a JSON object")
	}
	return nil
}

// decode is json.Unmarshal with errors that speak of the body and not of Go.
func decode(raw []byte, v any) error {
	err := json.Unmarshal(raw, v)
	var wrongType *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrongType) && wrongType.Field == "":
		return errs.New(errs.Malformed, "webhook: the body is not a JSON object")
	case errors.As(err, &wrongType):
		return errs.New(errs.Malformed, "webhook: field %.100q cannot hold a %.20s", wrongType.Field, wrongType.Value)
	}
	return errs.New(errs.Invalid, "webhook: the body is not JSON: %.200s", err.Error())
}

// decodeEvents reads an array of events without looking into them, so that one
// event of a wrong shape costs only itself. No array is no events.
func decodeEvents(field string, raw json.RawMessage) ([]json.RawMessage, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var events []json.RawMessage
	if err := json.Unmarshal(raw, &events); err != nil {
		return nil, errs.New(errs.Malformed, "webhook: field %q is not an array", field)
	}
	return events, checkCount(field, len(events))
}

func checkCount(field string, n int) error {
	if n > maxEvents {
		return errs.New(errs.Malformed, "webhook: field %q holds %d events, more than %d", field, n, maxEvents).
			WithHint("send them in smaller requests")
	}
	return nil
}

// tooDeep counts brackets outside of strings. It runs before encoding/json,
// whose own limit is 10,000, and does not care whether the body is valid.
func tooDeep(body []byte) bool {
	depth, inString := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}
