package api

import (
	"encoding/json"
	"net/http"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// writeJSON answers with v. It encodes before it writes, so that a failure can
// still be told as a problem.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return errs.Wrap(errs.Internal, "api: encode answer", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The caller may be gone; there is nobody left to tell.
	_, _ = w.Write(append(body, '\n'))
	return nil
}

// reply answers 200 with what a reader returned.
func reply[T any](w http.ResponseWriter, v T, err error) error {
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, v)
}
