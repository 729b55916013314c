package vulndb

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/db/v6/distribution"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Update asks the configured distribution for its latest database and installs
// it when it is newer than the current one; changed says whether it was. A
// sample counts as older than anything. Of several processes that share the
// library, one updates and the others wait for it and find nothing to do.
//
// It fails with errs.Unavailable or errs.Timeout when the distribution does not
// answer, errs.NotFound, errs.Unauthorized or errs.Forbidden when it refuses,
// errs.Malformed when what it sends contradicts itself. A failed update changes
// nothing; what was downloaded is kept, and the next attempt goes on from there.
func (l *Library) Update(ctx context.Context, progress Progress) (in Installed, changed bool, err error) {
	in, changed, err = l.update(ctx, progress)
	return in, changed, errs.Op("vulndb: update from "+display(l.latest), err)
}

func (l *Library) update(ctx context.Context, progress Progress) (Installed, bool, error) {
	release, err := l.lock(ctx, updateLockFile)
	if err != nil {
		return Installed{}, false, err
	}
	defer release()
	progress.report("checking", 0, 0)
	latest, err := l.fetchLatest(ctx)
	if err != nil {
		return Installed{}, false, err
	}
	current, err := l.Current()
	if err == nil && !supersedes(latest, current) {
		return current, false, nil
	}
	if have, ok := l.fromArchive(latest.Checksum); ok {
		in, err := l.reuse(ctx, have, origin{archive: latest.Checksum})
		return in, err == nil, err
	}
	in, err := l.fetchAndInstall(ctx, latest, progress)
	return in, err == nil, err
}

// supersedes reports whether the distribution has something better than current.
func supersedes(latest *distribution.LatestDocument, current Installed) bool {
	if latest.Checksum == current.Archive {
		return false
	}
	return current.Sample || latest.Built.After(current.Built)
}

// fromArchive finds an installed build that came from the archive.
func (l *Library) fromArchive(checksum string) (Installed, bool) {
	all, err := l.List()
	if err != nil {
		return Installed{}, false
	}
	for _, in := range all {
		if in.Archive == checksum {
			return in, true
		}
	}
	return Installed{}, false
}

// fetchAndInstall downloads the archive, compares its checksum and installs it.
func (l *Library) fetchAndInstall(ctx context.Context, latest *distribution.LatestDocument, progress Progress) (Installed, error) {
	part, err := l.download(ctx, latest.Archive, progress)
	if err != nil {
		return Installed{}, err
	}
	defer os.Remove(part)
	s, err := l.newStage(ctx)
	if err != nil {
		return Installed{}, err
	}
	defer s.close()
	from, err := l.unpackFile(ctx, part, s.database(), progress)
	if err != nil {
		return Installed{}, err
	}
	from.source, from.archive = display(l.archiveURL(latest.Path)), latest.Checksum
	if err := keepArchive(part, s.dir, from); err != nil {
		return Installed{}, err
	}
	return l.install(ctx, s, from, progress)
}

// Latest asks the configured distribution when its newest database was built, and
// fetches nothing. The errors are those of Update.
func (l *Library) Latest(ctx context.Context) (built time.Time, err error) {
	latest, err := l.fetchLatest(ctx)
	if err != nil {
		return time.Time{}, errs.Op("vulndb: ask "+display(l.latest), err)
	}
	return latest.Built.Time, nil
}

// fetchLatest asks the distribution for its latest.json.
func (l *Library) fetchLatest(ctx context.Context) (*distribution.LatestDocument, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.CheckTimeout)
	defer cancel()
	const limit = 1 << 20
	resp, err := l.get(ctx, l.latest, 0)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(&limitReader{r: resp.Body, left: limit, limit: limit})
	if err != nil {
		return nil, l.transportError(ctx, err)
	}
	return parseLatest(raw)
}

// parseLatest reads a latest.json and refuses one that cannot be acted upon
// safely: without a checksum, or naming something outside its own directory.
func parseLatest(raw []byte) (*distribution.LatestDocument, error) {
	latest, err := distribution.NewLatestFromReader(bytes.NewReader(raw))
	if err != nil || latest == nil {
		return nil, (&errs.Error{Kind: errs.Malformed, Op: "vulndb: read latest.json", Err: orEmpty(err)}).
			WithHint("the address serves something else, perhaps the login page of a proxy; open it in a browser to see")
	}
	if latest.SchemaVersion.Model != v6.ModelVersion {
		return nil, errs.New(errs.Unsupported, "vulndb: the distribution offers schema %s, only v%d can be used", latest.SchemaVersion, v6.ModelVersion)
	}
	hex, ok := strings.CutPrefix(latest.Checksum, algorithm)
	switch {
	case !ok || !hexDigest.MatchString(hex):
		return nil, errs.New(errs.Malformed, "vulndb: latest.json gives no sha256 checksum")
	case latest.Built.IsZero():
		return nil, errs.New(errs.Malformed, "vulndb: latest.json does not say when the database was built")
	case !filepath.IsLocal(latest.Path) || path.Clean(latest.Path) == ".":
		return nil, errs.New(errs.Malformed, "vulndb: latest.json names an archive outside its directory: %q", latest.Path)
	}
	return latest, nil
}

func orEmpty(err error) error {
	if err == nil {
		return errors.New("it is empty")
	}
	return err
}
