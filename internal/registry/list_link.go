package registry

import (
	"net/http"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// nextLink returns the target of the link to the next page (RFC 8288), empty when
// there is none. A link without a relation counts: older registries send it so.
func nextLink(header http.Header) (string, error) {
	for _, value := range header.Values("Link") {
		for value = strings.TrimSpace(value); value != ""; {
			target, rest, ok := strings.Cut(strings.TrimPrefix(value, "<"), ">")
			if !ok || !strings.HasPrefix(value, "<") {
				return "", errs.New(errs.Malformed, "the Link header cannot be read")
			}
			parameters, behind := cutUnquoted(rest, ',')
			if isNext(parameters) && target != "" {
				return target, nil
			}
			value = strings.TrimSpace(behind)
		}
	}
	return "", nil
}

// cutUnquoted cuts at the first separator that is not within quotes.
func cutUnquoted(s string, separator rune) (before, after string) {
	quoted := false
	for i, r := range s {
		switch {
		case r == '"':
			quoted = !quoted
		case r == separator && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// isNext reports whether the parameters of a link have the relation "next", or
// none at all.
func isNext(parameters string) bool {
	for parameters != "" {
		var parameter string
		parameter, parameters = cutUnquoted(parameters, ';')
		name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
		if !strings.EqualFold(strings.TrimSpace(name), "rel") {
			continue
		}
		for relation := range strings.FieldsSeq(strings.Trim(strings.TrimSpace(value), `"`)) {
			if strings.EqualFold(relation, "next") {
				return true
			}
		}
		return false
	}
	return true
}
