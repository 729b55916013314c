package localregistry

import (
	"cmp"
	"crypto/rand"
	"os"
	"path/filepath"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"golang.org/x/crypto/bcrypt"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// settings translates c into Distribution's own configuration.
func (r *Registry) settings(c Config) (*configuration.Configuration, error) {
	s := &configuration.Configuration{
		Version: configuration.CurrentVersion,
		Storage: configuration.Storage{
			"delete":      {"enabled": true},
			"maintenance": {"uploadpurging": map[any]any{"enabled": false}},
		},
	}
	// Without a secret of our own Distribution makes one and warns about it.
	s.HTTP.Secret = rand.Text()
	// Only Distribution's parser sets these; without them the catalog stays empty.
	s.Catalog.MaxEntries = cmp.Or(c.PageSize, 1000)
	s.Tags.MaxTags = s.Catalog.MaxEntries
	if c.StorageDir == "" {
		s.Storage["inmemory"] = configuration.Parameters{}
	} else {
		s.Storage["filesystem"] = configuration.Parameters{"rootdirectory": c.StorageDir}
	}
	if c.Notify != "" {
		s.Notifications.Endpoints = []configuration.Endpoint{endpoint(c)}
	}
	if c.Username != "" && c.Password != "" {
		path, err := r.writePassword(c.Username, c.Password)
		if err != nil {
			return nil, err
		}
		s.Auth = configuration.Auth{"htpasswd": {"realm": "localregistry", "path": path}}
	}
	return s, nil
}

// endpoint leaves out the events that say nothing about what a tag holds:
// blobs, which come with every layer, and pulls, which our own scans cause;
// unless they are wanted.
func endpoint(c Config) configuration.Endpoint {
	e := configuration.Endpoint{
		Name:      "tidewaiter",
		URL:       c.Notify,
		Headers:   c.NotifyHeaders,
		Timeout:   5 * time.Second,
		Threshold: 5,
		Backoff:   200 * time.Millisecond,
	}
	if !c.NotifyAll {
		e.Ignore = configuration.Ignore{
			MediaTypes: []string{"application/octet-stream"},
			Actions:    []string{"pull", "mount"},
		}
	}
	return e
}

// writePassword writes the password file, the only form Distribution takes.
func (r *Registry) writePassword(username, password string) (string, error) {
	// A try-out's password is known to everybody; the cheapest cost keeps
	// requests fast.
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		return "", errs.Wrap(errs.Invalid, "hash the password", err)
	}
	if r.secret, err = os.MkdirTemp("", "tidewaiter-registry-"); err != nil {
		return "", errs.Wrap(errs.Internal, "make a directory for the password file", err)
	}
	path := filepath.Join(r.secret, "htpasswd")
	line := append([]byte(username+":"), hash...)
	if err := os.WriteFile(path, append(line, '\n'), 0o600); err != nil {
		return "", errs.Wrap(errs.Internal, "write the password file", err)
	}
	return path, nil
}
