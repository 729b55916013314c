package vulndb

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// diskError wraps a failed write. A full disk gets a kind and a hint of its
// own, because it passes once somebody makes room.
func diskError(op string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return (&errs.Error{Kind: errs.Unavailable, Op: op, Err: err}).
			WithHint("the disk is full; the database in use is untouched. A database needs about ten times the size of its archive")
	}
	return errs.Wrap(errs.Internal, op, err)
}

// writeFile writes a small file so that after a crash it is either whole or
// as it was before.
func writeFile(path string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return diskError("vulndb: write "+filepath.Base(path), err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(content)
	if err == nil {
		err = tmp.Chmod(0o644)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err == nil {
		err = syncPath(filepath.Dir(path))
	}
	return diskError("vulndb: write "+filepath.Base(path), err)
}

// syncPath makes a file's content, or a directory's entries, durable.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
