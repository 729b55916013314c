package vulndb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/klauspost/compress/zstd"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// archiveFile is the archive a build was delivered in, kept beside it so that it
// can be handed on.
const archiveFile = "archive"

// Parcel describes a build that is packed to be handed to another library.
type Parcel struct {
	Installed
	// Database is the checksum of the database file inside. It is the build's name
	// when the parcel is what was delivered; when the build had to be packed again,
	// it is that of the file with its indexes.
	Database string
	// Digest and Size are those of the packed bytes.
	Digest string
	Size   int64
}

// Packed is a parcel with its bytes, open to be read anywhere. Close it after
// use.
type Packed struct {
	Parcel
	*os.File
	clean func()
}

// Close lets go of the bytes.
func (p *Packed) Close() error {
	err := p.File.Close()
	p.clean()
	return err
}

// Pack opens a build for handing on: the archive it was delivered in, or, where
// there was none or it is gone, one that is packed now, fast rather than small.
// It fails with errs.NotFound when the build is not in the library.
func (l *Library) Pack(ctx context.Context, checksum string, progress Progress) (*Packed, error) {
	in, err := l.Get(checksum)
	if err != nil {
		return nil, err
	}
	if p, err := openKept(in); err == nil {
		return p, nil
	}
	p, err := l.packAgain(ctx, in, progress)
	return p, errs.Op("vulndb: pack", err)
}

// openKept opens the archive beside a build and takes its checksum: what is
// handed on must be what it is said to be.
func openKept(in Installed) (*Packed, error) {
	path := filepath.Join(in.Dir, archiveFile)
	digest, err := fileChecksum(path)
	if err != nil {
		return nil, err
	}
	if digest != in.Archive {
		return nil, errs.New(errs.Malformed, "vulndb: the kept archive has another checksum")
	}
	database := in.Database
	if database == "" {
		database = in.Checksum
	}
	return openPacked(in, path, database, digest, func() {})
}

// packAgain packs the indexed database.
func (l *Library) packAgain(ctx context.Context, in Installed, progress Progress) (*Packed, error) {
	s, err := l.newStage(ctx)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(s.dir, archiveFile)
	a := archive{path: path, built: in.Built, level: zstd.SpeedFastest}
	database, err := a.pack(ctx, filepath.Join(in.Dir, v6.VulnerabilityDBFileName), path, progress)
	if err != nil {
		s.close()
		return nil, err
	}
	digest, err := fileChecksum(path)
	if err != nil {
		s.close()
		return nil, diskError("vulndb: pack", err)
	}
	p, err := openPacked(in, path, database, digest, s.close)
	if err != nil {
		s.close()
	}
	return p, err
}

func openPacked(in Installed, path, database, digest string, clean func()) (*Packed, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, diskError("vulndb: open the archive", err)
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, diskError("vulndb: open the archive", err)
	}
	return &Packed{Parcel: Parcel{Installed: in, Database: database, Digest: digest, Size: info.Size()}, File: f, clean: clean}, nil
}

// keepArchive puts the archive a database came in beside it. One that cannot be
// linked is copied while its checksum is taken: somebody may write to it
// meanwhile. An archive that is hardly smaller than the database is not worth
// its room.
func keepArchive(archive, dir string, from origin) error {
	if from.archive == "" {
		return nil
	}
	packed, err := os.Stat(archive)
	if err != nil {
		return diskError("vulndb: keep the archive", err)
	}
	plain, err := os.Stat(filepath.Join(dir, v6.VulnerabilityDBFileName))
	if err != nil {
		return diskError("vulndb: keep the archive", err)
	}
	if packed.Size() > plain.Size()/2 && packed.Size() > 1<<20 {
		return nil
	}
	return copyArchive(archive, filepath.Join(dir, archiveFile), from.archive)
}

func copyArchive(from, to, want string) error {
	in, err := os.Open(from)
	if err != nil {
		return diskError("vulndb: keep the archive", err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return diskError("vulndb: keep the archive", err)
	}
	defer out.Close()
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, sum), in)
	if err == nil {
		err = out.Sync()
	}
	if err == nil {
		err = out.Close()
	}
	if err == nil && algorithm+hex.EncodeToString(sum.Sum(nil)) != want {
		return errs.New(errs.Conflict, "vulndb: the archive changed while it was read").WithHint("import it again when nobody writes to it")
	}
	return diskError("vulndb: keep the archive", err)
}
