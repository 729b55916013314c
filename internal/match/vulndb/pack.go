package vulndb

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/db/v6/distribution"
	"github.com/klauspost/compress/zstd"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// archive is a database archive about to be written.
type archive struct {
	path  string
	built time.Time
	level zstd.EncoderLevel // zero for the smallest archive
}

// newArchive decides where the archive goes and makes its directory.
func newArchive(opts BuildOptions) (archive, error) {
	path := opts.Out
	if !strings.HasSuffix(path, ".tar.zst") && !strings.HasSuffix(path, ".tar.gz") {
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return archive{}, errs.New(errs.Invalid, "vulndb: %s is neither a directory nor named .tar.zst or .tar.gz", path)
		}
		name := fmt.Sprintf("vulnerability-db_v%d.%d.%d_%d", v6.ModelVersion, v6.Revision, v6.Addition, opts.Built.Unix())
		if opts.Sample {
			name += "_sample"
		}
		path = filepath.Join(path, name+".tar.zst")
	}
	path, err := filepath.Abs(path)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o755)
	}
	return archive{path: path, built: opts.Built}, diskError("vulndb: make directory", err)
}

// latest is the path of the latest.json beside the archive.
func (a archive) latest() string {
	return filepath.Join(filepath.Dir(a.path), distribution.LatestFileName)
}

// write packs the database in dir and returns the checksum of the database.
// The archive appears whole, and latest.json after it.
func (a archive) write(ctx context.Context, dir string, progress Progress) (checksum string, err error) {
	tmp := filepath.Join(dir, filepath.Base(a.path)) // named alike: the name tells the compression
	if checksum, err = a.pack(ctx, filepath.Join(dir, v6.VulnerabilityDBFileName), tmp, progress); err != nil {
		return "", err
	}
	entry, err := distribution.NewArchive(tmp, a.built, v6.ModelVersion, v6.Revision, v6.Addition)
	if err != nil {
		return "", errs.Wrap(errs.Internal, "vulndb: describe the archive", err)
	}
	var doc bytes.Buffer
	if err := distribution.NewLatestDocument(*entry).Write(&doc); err != nil {
		return "", errs.Wrap(errs.Internal, "vulndb: write latest.json", err)
	}
	if err := os.Rename(tmp, a.path); err != nil {
		return "", diskError("vulndb: write the archive", err)
	}
	return checksum, writeFile(a.latest(), append(doc.Bytes(), '\n'))
}

// pack writes the archive: one file, as in grype's own.
func (a archive) pack(ctx context.Context, database, dest string, progress Progress) (checksum string, err error) {
	in, err := os.Open(database)
	if err != nil {
		return "", errs.Wrap(errs.Internal, "vulndb: pack", err)
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return "", errs.Wrap(errs.Internal, "vulndb: pack", err)
	}
	out, err := os.Create(dest)
	if err != nil {
		return "", diskError("vulndb: pack", err)
	}
	defer out.Close()
	z, err := a.compressor(dest, out)
	if err != nil {
		return "", errs.Wrap(errs.Internal, "vulndb: pack", err)
	}
	sum := sha256.New()
	counted := &countReader{r: contextReader{ctx, io.TeeReader(in, sum)}, total: info.Size(), stage: "packing", progress: progress}
	t := tar.NewWriter(z)
	err = t.WriteHeader(&tar.Header{Name: v6.VulnerabilityDBFileName, Mode: 0o644, Size: info.Size(), ModTime: a.built, Format: tar.FormatPAX})
	for _, step := range []func() error{
		func() error { _, err := io.Copy(t, counted); return err },
		t.Close, z.Close, out.Sync, out.Close,
	} {
		if err == nil {
			err = step()
		}
	}
	if err == nil {
		return algorithm + hex.EncodeToString(sum.Sum(nil)), nil
	}
	if ctx.Err() != nil {
		return "", errs.Op("vulndb: pack", err)
	}
	return "", diskError("vulndb: pack", err)
}

// compressor packs in process, as the file's name asks for.
func (a archive) compressor(name string, w io.Writer) (io.WriteCloser, error) {
	if strings.HasSuffix(name, ".tar.gz") {
		return gzip.NewWriterLevel(w, gzip.BestCompression)
	}
	level := a.level
	if level == 0 {
		level = zstd.SpeedBestCompression
	}
	return zstd.NewWriter(w, zstd.WithEncoderLevel(level))
}
