package registry

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
)

// imageConfig is what is wanted of an image's config (OCI image-spec, config.md).
type imageConfig struct {
	OS, Architecture, Variant, OSVersion string
	Created                              time.Time
	RootFS                               rootFS
	// steps are the instructions that made layers.
	steps []string
}

type rootFS struct {
	DiffIDs []string `json:"diff_ids"`
}

// parseConfig reads a config. Its history, which may be long, is gone over entry
// by entry. Names count without regard to case, as in every reader that is
// written in Go.
func parseConfig(content []byte) (imageConfig, error) {
	var c imageConfig
	if err := c.read(json.NewDecoder(bytes.NewReader(content))); err != nil {
		return imageConfig{}, errs.New(errs.Malformed, "the config is not JSON")
	}
	for _, d := range c.RootFS.DiffIDs {
		if _, err := image.ParseDigest(d); err != nil {
			return imageConfig{}, errs.Wrap(errs.Malformed, "config: diffID", err)
		}
	}
	return c, nil
}

func (c *imageConfig) read(d *json.Decoder) error {
	if err := expect(d, '{'); err != nil {
		return err
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := key.(string)
		if err := c.field(d, strings.ToLower(name)); err != nil {
			return err
		}
	}
	return expect(d, '}')
}

func (c *imageConfig) field(d *json.Decoder, name string) error {
	switch name {
	case "os":
		return d.Decode(&c.OS)
	case "architecture":
		return d.Decode(&c.Architecture)
	case "variant":
		return d.Decode(&c.Variant)
	case "os.version":
		return d.Decode(&c.OSVersion)
	case "created":
		return d.Decode(&c.Created)
	case "rootfs":
		return d.Decode(&c.RootFS)
	case "history":
		return c.history(d)
	}
	return d.Decode(&ignored{})
}

// history reads the list of instructions, or null.
func (c *imageConfig) history(d *json.Decoder) error {
	open, err := d.Token()
	if open == nil || err != nil {
		return err
	}
	if open != json.Delim('[') {
		return errs.New(errs.Malformed, "the history is no list")
	}
	c.steps = nil
	for d.More() {
		var step struct {
			CreatedBy  string `json:"created_by"`
			EmptyLayer bool   `json:"empty_layer"`
		}
		if err := d.Decode(&step); err != nil {
			return err
		}
		if !step.EmptyLayer {
			c.steps = append(c.steps, step.CreatedBy)
		}
	}
	return expect(d, ']')
}

func expect(d *json.Decoder, want json.Delim) error {
	got, err := d.Token()
	if err == nil && got != want {
		err = errs.New(errs.Malformed, "%s is missing", want)
	}
	return err
}

// ignored takes any value and keeps nothing of it.
type ignored struct{}

// UnmarshalJSON does nothing.
func (*ignored) UnmarshalJSON([]byte) error { return nil }
