package webhook

import (
	"context"
	"encoding/json"
	"net/http"
)

// door is an endpoint with its format: the way of a request from its bytes to
// its events.
type door struct {
	Endpoint
	format format
	keys   Keys
}

// newDoor takes an endpoint that is valid.
func newDoor(e Endpoint, keys Keys) door {
	f, _ := findFormat(e.Format)
	if keys == nil {
		keys = noKeys{}
	}
	return door{Endpoint: e, format: f, keys: keys}
}

// reading is what was read in a request: events, or a greeting.
type reading struct {
	items    []Item
	greeting *Greeting
}

// read verifies a whole request, then reads it.
func (d door) read(ctx context.Context, r request) (reading, error) {
	if err := d.format.verify(ctx, r); err != nil {
		return reading{}, err
	}
	if d.format.greet != nil {
		greeting, err := d.format.greet(r)
		if err != nil {
			return reading{}, err
		}
		if greeting != nil {
			return reading{greeting: greeting}, d.confirm(ctx, greeting)
		}
	}
	items, err := d.format.parse(r)
	if err != nil {
		return reading{}, err
	}
	setKeys(items)
	return reading{items: items}, nil
}

// confirm visits what a verified greeting asks us to visit.
func (d door) confirm(ctx context.Context, g *Greeting) error {
	if g.Confirm == "" {
		return nil
	}
	return d.keys.Confirm(ctx, g.Confirm)
}

// write answers with the greeting.
func (g *Greeting) write(w http.ResponseWriter) {
	for name, values := range g.Header {
		w.Header()[name] = values
	}
	if g.Body == nil {
		w.WriteHeader(g.status())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(g.status())
	_ = json.NewEncoder(w).Encode(g.Body) // the sender may be gone; it asks again
}

func (g *Greeting) status() int {
	if g.Status == 0 {
		return http.StatusOK
	}
	return g.Status
}
