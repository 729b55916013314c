package registry

import (
	"context"
	"crypto/sha256"
	"hash"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Mirror is a host that serves copies of a registry's content. It is asked for
// manifests, configs and layers by digest, which their content is checked
// against; never where a tag points nor whether a repository has something. It
// has a login of its own.
type Mirror struct {
	// Host is the host[:port] to connect to.
	Host string
	// RepositoryPrefix stands before the registry's repository names there; empty
	// when they are the same.
	RepositoryPrefix string
	// PlainHTTP, CAFile, TrustedHosts and Auth are as those of Settings.
	PlainHTTP    bool
	CAFile       string
	TrustedHosts []string
	Auth         Auth
}

const (
	// mirrorPause is how long a mirror that failed is left alone.
	mirrorPause = time.Minute
	// mirrorDistrust is how long one is that sent other content than was asked for.
	mirrorDistrust = time.Hour
)

// mirror is the connection to a mirror.
type mirror struct {
	connection *connection
	prefix     string

	mu    sync.Mutex
	until time.Time // it is not asked before
}

func connectMirrors(s Settings, m meter) ([]*mirror, error) {
	var out []*mirror
	for _, c := range s.Mirrors {
		own := Settings{
			Name: s.Name + " (mirror " + c.Host + ")", Host: c.Host, PlainHTTP: c.PlainHTTP, CAFile: c.CAFile,
			TrustedHosts: c.TrustedHosts, Auth: c.Auth, RequestTimeout: s.RequestTimeout,
			MaxManifestBytes: s.MaxManifestBytes, network: s.network,
		}
		conn, err := connect(own.withDefaults(), meter{m.metrics, m.registry, viaMirror})
		if err != nil {
			return nil, errs.Op("mirror "+c.Host, err)
		}
		out = append(out, &mirror{connection: conn, prefix: c.RepositoryPrefix})
	}
	return out, nil
}

func (m *mirror) repository(name string) string {
	if m.prefix == "" {
		return name
	}
	return m.prefix + "/" + name
}

func (m *mirror) usable() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Now().After(m.until)
}

func anyUsable(mirrors []*mirror) bool { return slices.ContainsFunc(mirrors, (*mirror).usable) }

// noted leaves the mirror alone for a while after a failure that is its own. That
// it lacks something, or that the caller gave up, is none.
func (m *mirror) noted(ctx context.Context, err error) error {
	pause := max(mirrorPause, min(errs.RetryAfter(err), mirrorDistrust))
	switch errs.KindOf(err) {
	case "", errs.NotFound, errs.Canceled:
		return err
	case errs.Malformed, errs.TooLarge:
		pause = mirrorDistrust
	}
	if ctx.Err() != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.until = time.Now().Add(pause)
	return err
}

// inUse returns an error while the mirror is left alone.
func (m *mirror) inUse() error {
	if m.usable() {
		return nil
	}
	return errs.New(errs.Unavailable, "mirror %s is left alone for a while", m.connection.settings.Host)
}

// manifest reads a manifest by its digest.
func (m *mirror) manifest(ctx context.Context, repository, digest string) (*remote.Descriptor, error) {
	if err := m.inUse(); err != nil {
		return nil, err
	}
	desc, err := m.connection.manifest(ctx, m.repository(repository), digest)
	if err == nil {
		// Whether it is a manifest or an index, its media type says.
		_, err = parseManifest(desc.Manifest, string(desc.MediaType))
	}
	return desc, m.noted(ctx, err)
}

// smallBlob reads a blob as a whole.
func (m *mirror) smallBlob(ctx context.Context, repository string, d descriptor) ([]byte, error) {
	if err := m.inUse(); err != nil {
		return nil, err
	}
	content, err := m.connection.smallBlob(ctx, m.repository(repository), d)
	return content, m.noted(ctx, err)
}

// layer opens a layer. Where the mirror fails while it is read, the registry
// takes over: reopen opens it there.
func (m *mirror) layer(ctx context.Context, repository string, d descriptor, reopen func() (io.ReadCloser, error)) (io.ReadCloser, error) {
	if err := m.inUse(); err != nil {
		return nil, err
	}
	content, err := m.connection.openBlob(ctx, m.repository(repository), d)
	if err != nil {
		return nil, m.noted(ctx, err)
	}
	return &mirrored{ReadCloser: content, ctx: ctx, mirror: m, sum: sha256.New(), reopen: reopen}, nil
}

// mirrored is a layer that comes from a mirror as long as that goes well.
type mirrored struct {
	io.ReadCloser
	ctx    context.Context
	mirror *mirror // nil once the registry has taken over
	reopen func() (io.ReadCloser, error)
	read   int64
	sum    hash.Hash // of what was read from the mirror
}

// Read reads on.
func (m *mirrored) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	if m.mirror == nil {
		return n, err
	}
	m.read += int64(n)
	_, _ = m.sum.Write(p[:n]) // a hash never fails
	if err == nil || err == io.EOF || m.ctx.Err() != nil {
		return n, err
	}
	_ = m.mirror.noted(m.ctx, err)
	return n, m.takeOver()
}

// takeOver goes on at the registry, behind what was read already. When that was
// not the registry's content, nothing can be saved but the next attempt, which
// leaves the mirror alone.
func (m *mirrored) takeOver() error {
	host := m.mirror.connection.settings.Host
	m.mirror = nil
	_ = m.ReadCloser.Close()
	content, err := m.reopen()
	if err != nil {
		m.ReadCloser = io.NopCloser(failing{err})
		return err
	}
	m.ReadCloser = content
	sum := sha256.New()
	if _, err := io.CopyN(sum, content, m.read); err != nil {
		return err
	}
	if !slices.Equal(sum.Sum(nil), m.sum.Sum(nil)) {
		return errs.New(errs.Unavailable, "mirror %s sent other content than the registry has", host)
	}
	return nil
}

// failing is a reader that gives the same error again.
type failing struct{ err error }

// Read fails.
func (f failing) Read([]byte) (int, error) { return 0, f.err }
