package report

import (
	"fmt"
	"time"
)

// Progress is how far a scan is. Bytes, layers and packages are of the image it is
// at.
type Progress struct {
	Phase    string `json:"phase"` // "resolve", "pull", "catalogue", "inventory", "match", "store"
	Platform string `json:"platform,omitempty"`
	// Image counts from 1 to Images; both are zero until the target was resolved.
	Image  int `json:"image"`
	Images int `json:"images"`
	// Bytes are the compressed bytes of layers that are there, of BytesOf.
	Bytes    int64     `json:"bytes"`
	BytesOf  int64     `json:"bytes_of"`
	Layers   int       `json:"layers"`
	LayersOf int       `json:"layers_of"`
	Packages int       `json:"packages"` // zero until they are known
	At       time.Time `json:"at"`       // when this was so
}

// Words say what a scan is at, as "it pulls the image for linux/amd64: 12.3 of
// 300.0 MB, 2 of 5 layers".
func (p Progress) Words() string {
	what := "the image"
	if p.Platform != "" {
		what += " for " + p.Platform
	}
	if p.Images > 1 {
		what += fmt.Sprintf(", %d of %d", p.Image, p.Images)
	}
	switch p.Phase {
	case "pull":
		return fmt.Sprintf("it pulls %s: %.1f of %.1f MB, %d of %s", what, megabytes(p.Bytes), megabytes(p.BytesOf), p.Layers, many(p.LayersOf, "layer"))
	case "catalogue":
		return fmt.Sprintf("it catalogues %s: %s, %.1f MB", what, many(p.LayersOf, "layer"), megabytes(p.BytesOf))
	case "inventory":
		return fmt.Sprintf("it takes the inventory of %s: %s", what, many(p.Packages, "package"))
	case "match":
		return fmt.Sprintf("it judges %s: %s", what, many(p.Packages, "package"))
	case "store":
		return fmt.Sprintf("it stores the answer for %s: %s", what, many(p.Packages, "package"))
	}
	return "it asks the registry what this is"
}

func megabytes(n int64) float64 { return float64(n) / 1e6 }
