package vulndb

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/anchore/grype/grype/db/v6/distribution"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

const (
	partSuffix = ".part"
	hintOther  = "name a mirror with --vulndb-url, or fetch an archive elsewhere and run `tidewaiter vulndb import FILE`"
	hintReach  = "check the network and HTTPS_PROXY; or " + hintOther
)

// download fetches an archive and returns the file it is in once its checksum
// agrees. An interrupted download is continued. The caller holds the update
// lock.
func (l *Library) download(ctx context.Context, a distribution.Archive, progress Progress) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.DownloadTimeout)
	defer cancel()
	part := l.path(downloadsDir, strings.TrimPrefix(a.Checksum, algorithm)+partSuffix)
	dropOthers(l.path(downloadsDir), part)
	for {
		if sum, err := fileChecksum(part); err == nil && sum == a.Checksum {
			return part, nil
		}
		resumed, err := l.fetch(ctx, a.Path, part, progress)
		if err != nil {
			return "", err
		}
		sum, err := fileChecksum(part)
		if err != nil {
			return "", diskError("vulndb: download", err)
		}
		if sum == a.Checksum {
			return part, nil
		}
		os.Remove(part)
		if !resumed { // else the old part may be to blame: once more from the start
			return "", errs.New(errs.Malformed, "vulndb: the archive has checksum %s, latest.json says %s", sum, a.Checksum).
				WithHint("the mirror may be half updated, or something changes what passes; try again later or another mirror")
		}
	}
}

// dropOthers removes what is left in a directory of downloads other than the one
// to keep.
func dropOthers(dir, keep string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if p := filepath.Join(dir, e.Name()); p != keep {
			os.Remove(p)
		}
	}
}

// fetch appends what is missing to part. Resumed says that part held something
// before and the server agreed to go on from there.
func (l *Library) fetch(ctx context.Context, name, part string, progress Progress) (resumed bool, err error) {
	f, err := os.OpenFile(part, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return false, diskError("vulndb: download", err)
	}
	defer f.Close()
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return false, diskError("vulndb: download", err)
	}
	resp, err := l.get(ctx, l.archiveURL(name), have)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusPartialContent {
		have = 0
		if err := restart(f); err != nil {
			return false, err
		}
	}
	total := max(resp.ContentLength+have, 0)
	if resp.ContentLength < 0 {
		total = 0
	}
	if total > l.cfg.MaxBytes {
		return false, errs.New(errs.TooLarge, "vulndb: the archive has %d bytes, more than %d", total, l.cfg.MaxBytes)
	}
	body := &countReader{
		r:    &limitReader{r: resp.Body, left: l.cfg.MaxBytes - have, limit: l.cfg.MaxBytes},
		done: have, total: total, stage: "downloading", progress: progress,
	}
	if _, err := io.Copy(&diskWriter{f}, body); err != nil {
		return false, l.transportError(ctx, err)
	}
	return have > 0, nil
}

func restart(f *os.File) error {
	err := f.Truncate(0)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	return diskError("vulndb: download", err)
}

// archiveURL is the address of a file beside latest.json. The query stays: it
// is how some object stores grant access.
func (l *Library) archiveURL(name string) *url.URL {
	u := *l.latest
	u.Path, u.RawPath = path.Join(path.Dir(u.Path), path.Clean(name)), ""
	return &u
}

// get asks for the bytes of u from an offset on. The answer has status 200, or
// 206 when the server goes on from exactly that offset.
func (l *Library) get(ctx context.Context, u *url.URL, offset int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, "vulndb: request", err)
	}
	req.Header.Set("User-Agent", "tidewaiter")
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return nil, l.transportError(ctx, err)
	}
	start := fmt.Sprintf("bytes %d-", offset)
	switch {
	case resp.StatusCode == http.StatusOK,
		resp.StatusCode == http.StatusPartialContent && offset > 0 && strings.HasPrefix(resp.Header.Get("Content-Range"), start):
		return resp, nil
	}
	resp.Body.Close()
	if offset > 0 && (resp.StatusCode == http.StatusRequestedRangeNotSatisfiable || resp.StatusCode == http.StatusPartialContent) {
		return l.get(ctx, u, 0)
	}
	return nil, statusError(u, resp)
}

// statusError gives a refusal a kind and a next step. The words of the status
// line are the server's to choose and stay out.
func statusError(u *url.URL, resp *http.Response) error {
	e := errs.New(errs.Unavailable, "vulndb: GET %s: %s", display(u),
		strings.TrimSpace(strconv.Itoa(resp.StatusCode)+" "+http.StatusText(resp.StatusCode)))
	switch code := resp.StatusCode; {
	case code == http.StatusNotFound || code == http.StatusGone:
		e.Kind = errs.NotFound
		return e.WithHint("a mirror serves v6/latest.json and the archive beside it; check --vulndb-url")
	case code == http.StatusUnauthorized || code == http.StatusProxyAuthRequired:
		e.Kind = errs.Unauthorized
		return e.WithHint("put user and password into --vulndb-url (or HTTPS_PROXY), or " + hintOther)
	case code == http.StatusForbidden:
		e.Kind = errs.Forbidden
	case code == http.StatusTooManyRequests:
		e.Kind = errs.RateLimited
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		e.RetryAfter = min(time.Duration(s)*time.Second, 24*time.Hour)
	}
	return e.WithHint(hintOther)
}

// transportError gives a failed exchange a kind and a next step. The address in
// it may hold a secret and is left out; the operation names the host.
func (l *Library) transportError(ctx context.Context, err error) error {
	var known *errs.Error
	if errors.As(err, &known) {
		return err
	}
	var inner *url.Error
	if errors.As(err, &inner) {
		err = inner.Err
	}
	var authority x509.UnknownAuthorityError
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return errs.Op("vulndb: download", context.Canceled)
	case errors.Is(ctx.Err(), context.DeadlineExceeded) || os.IsTimeout(err):
		return errs.New(errs.Timeout, "vulndb: the distribution is too slow").WithHint("run it again to go on with the download; " + hintReach)
	case errors.As(err, &authority):
		return (&errs.Error{Kind: errs.Unavailable, Op: "vulndb: connect", Err: err}).
			WithHint("name the authority that signed the certificate with --vulndb-ca-file")
	}
	return (&errs.Error{Kind: errs.Unavailable, Op: "vulndb: connect", Err: err}).WithHint("%s", hintReach)
}

// display shows where an address leads, without user, password and query.
func display(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}
