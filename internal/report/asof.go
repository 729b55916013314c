package report

import (
	"time"

	"github.com/tidewaiter/tidewaiter/internal/image"
)

// AsOf says what an answer about the past was taken from. Estimates of
// exploitation and risk are kept for the active build only and are left out of
// an answer of another; descriptions and rules that leave images out are those of
// today.
type AsOf struct {
	Time time.Time `json:"time"`
	// Digest is what the answer is of.
	Digest image.Digest `json:"digest"`
	// MovedAt is when the tag came to point to it; nil for a digest.
	MovedAt *time.Time `json:"tag_moved_at,omitempty"`
	// PointsTo is what the tag pointed to already, when that had no answer yet; the
	// answer is then of the one before.
	PointsTo image.Digest `json:"points_to,omitempty"`
	// Note says in words what the answer leaves out; empty when there is nothing to
	// say.
	Note string `json:"note,omitempty"`
}
