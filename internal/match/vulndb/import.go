package vulndb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/db/v6/distribution"
	"github.com/spf13/afero"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Import installs a database from the local file system and makes it current,
// even when it is older than the current one: the person who imports decides.
//
// The path names a .tar.zst, .tar.gz or .tar.xz archive, a bare database file,
// a directory that holds vulnerability.db, or a directory that holds a
// latest.json and the archive it names (a mirror, or what Build wrote). It
// fails with errs.Invalid when there is no such thing, errs.Malformed or
// errs.Unsupported when the content is not a usable database, errs.TooLarge
// beyond Config.MaxBytes; the current build then stays as it is.
func (l *Library) Import(ctx context.Context, path string, progress Progress) (Installed, error) {
	in, err := l.importPath(ctx, path, progress)
	return in, errs.Op("vulndb: import "+filepath.Base(path), err)
}

func (l *Library) importPath(ctx context.Context, path string, progress Progress) (Installed, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Installed{}, errs.Wrap(errs.Invalid, "vulndb: open", err)
	}
	if !info.IsDir() {
		return l.importFile(ctx, path, "", progress)
	}
	file := filepath.Join(path, v6.VulnerabilityDBFileName)
	if _, err := os.Stat(file); err == nil {
		return l.importFile(ctx, file, copiedChecksum(path), progress)
	}
	archive, err := archiveIn(path)
	if err != nil {
		return Installed{}, err
	}
	return l.importFile(ctx, archive, "", progress)
}

// importFile installs from an archive or a bare database. A known checksum is
// used instead of the file's.
func (l *Library) importFile(ctx context.Context, path, known string, progress Progress) (Installed, error) {
	s, err := l.newStage(ctx)
	if err != nil {
		return Installed{}, err
	}
	defer s.close()
	from, err := l.unpackFile(ctx, path, s.database(), progress)
	if err != nil {
		return Installed{}, err
	}
	from.source = "file:" + filepath.Base(path)
	if err := keepArchive(path, s.dir, from); err != nil {
		return Installed{}, err
	}
	if known != "" {
		from.checksum = known
	}
	return l.install(ctx, s, from, progress)
}

// unpackFile unpacks a local file to dest.
func (l *Library) unpackFile(ctx context.Context, path, dest string, progress Progress) (origin, error) {
	f, err := os.Open(path)
	if err != nil {
		return origin{}, errs.Wrap(errs.Invalid, "vulndb: open", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return origin{}, errs.New(errs.Invalid, "vulndb: %s is not a regular file", path)
	}
	if info.Size() > l.cfg.MaxBytes {
		return origin{}, errs.New(errs.TooLarge, "vulndb: the file is larger than %d bytes", l.cfg.MaxBytes)
	}
	sum := sha256.New()
	counted := &countReader{r: io.TeeReader(f, sum), total: info.Size(), stage: "unpacking", progress: progress}
	checksum, err := unpacker{ctx: ctx, limit: l.cfg.MaxBytes}.unpack(counted, dest)
	if err != nil {
		return origin{}, err
	}
	if _, err := io.Copy(io.Discard, counted); err != nil { // what follows the compressed stream belongs to the archive's checksum
		return origin{}, errs.Wrap(errs.Internal, "vulndb: read", err)
	}
	from := origin{checksum: checksum}
	if archive := algorithm + hex.EncodeToString(sum.Sum(nil)); archive != checksum {
		from.archive = archive
	}
	return from, nil
}

// copiedChecksum returns the name of a build directory copied from another
// library, so that it keeps its name although its file has indexes by now. The
// name is believed only while the database is the one it was written for.
func copiedChecksum(dir string) string {
	in, err := readInstalled(dir)
	if err != nil || !hexDigest.MatchString(in.hex()) {
		return ""
	}
	note, err := v6.ReadImportMetadata(afero.NewOsFs(), dir)
	if err != nil {
		return ""
	}
	digest, err := v6.CalculateDBDigest(afero.NewOsFs(), filepath.Join(dir, v6.VulnerabilityDBFileName))
	if err != nil || digest != note.Digest {
		return ""
	}
	return in.Checksum
}

// archiveIn returns the archive that the latest.json of a directory names,
// after comparing its checksum.
func archiveIn(dir string) (string, error) {
	raw, err := os.ReadFile(filepath.Join(dir, distribution.LatestFileName))
	if err != nil {
		return "", errs.New(errs.Invalid, "vulndb: %s holds neither %s nor %s", dir, v6.VulnerabilityDBFileName, distribution.LatestFileName)
	}
	latest, err := parseLatest(raw)
	if err != nil {
		return "", err
	}
	archive := filepath.Join(dir, latest.Path)
	sum, err := fileChecksum(archive)
	if err != nil {
		return "", errs.Wrap(errs.Invalid, "vulndb: read the archive", err)
	}
	if sum != latest.Checksum {
		return "", errs.New(errs.Malformed, "vulndb: %s has checksum %s, but %s says %s",
			filepath.Base(archive), sum, distribution.LatestFileName, latest.Checksum)
	}
	return archive, nil
}

func fileChecksum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return algorithm + hex.EncodeToString(sum.Sum(nil)), nil
}
