package api

import (
	"net/http"
	"sort"
	"strings"

	"github.com/go-chi/chi/v5"
)

// Routes lists what the router serves, as "GET /scans/{id}".
func Routes() ([]string, error) {
	var out []string
	err := chi.Walk((&handler{}).router(), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		out = append(out, method+" "+strings.TrimPrefix(route, Prefix))
		return nil
	})
	sort.Strings(out)
	return out, err
}

// Action is what the audit log calls a route; empty when it has no name for it.
func Action(route string) string { return actions[route] }
