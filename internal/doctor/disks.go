package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/tidewaiter/tidewaiter/internal/config"
)

// room is a directory the service writes to.
type room struct {
	key  string // of the configuration
	dir  string
	need uint64 // bytes that should be free
	why  string // what they are for
	must uint64 // bytes without which work stops
}

// Room the vulnerability database takes beside the builds that are there already.
const (
	databaseNeeds = 2 << 30
	databaseMust  = 512 << 20
)

// diskChecks are one for each directory.
func (e *examination) diskChecks() (checks []check) {
	c := e.config
	rooms := []room{{"vulndb.dir", c.VulnDB.Dir, databaseNeeds, "a new vulnerability database takes about 2 GiB while it is unpacked", databaseMust}}
	if c.Workers.Enabled {
		keep := uint64(c.Cache.KeepFree)
		temp := c.TempDir
		if temp == "" {
			temp = os.TempDir()
		}
		rooms = append(rooms, room{"temp_dir", temp, keep + uint64(c.Limits.TempBytes), "cache.keep_free and limits.temp_bytes for an image", keep})
		if dir := c.LayerCacheDir(); dir != "" {
			rooms = append(rooms, room{"cache.dir", dir, keep + 1<<30, "cache.keep_free and the layers of an image", keep})
		}
	}
	for _, r := range rooms {
		name := "disk " + r.key
		checks = append(checks, check{name, func(context.Context) []Finding {
			if e.isWrong(r.key) {
				return left(name)
			}
			return e.lookAtRoom(name, r)
		}})
	}
	return checks
}

// lookAtRoom writes a file to see whether it can, and counts what is free.
func (e *examination) lookAtRoom(name string, r room) []Finding {
	there, err := existing(r.dir)
	if err == nil {
		err = tryWriting(there)
	}
	if err != nil {
		return []Finding{{name, Fail, fmt.Sprintf("%s cannot be written to: %s", r.dir, reason(err)), fixOfDirectory(r, there, err)}}
	}
	free, err := e.Free(there)
	text := fmt.Sprintf("%s, %s free", r.dir, config.Size(free>>20<<20))
	if there != r.dir {
		text += "; it will be made"
	}
	fix := fmt.Sprintf("make room, or name another disk with %s", r.key)
	switch {
	case err != nil:
		return []Finding{{name, Warn, fmt.Sprintf("%s: the free room is not known: %s", r.dir, reason(err)), ""}}
	case free < r.must:
		return []Finding{{name, Fail, fmt.Sprintf("%s: work stops below %s (%s)", text, config.Size(r.must), r.why), fix}}
	case free < r.need:
		return []Finding{{name, Warn, fmt.Sprintf("%s; there should be %s (%s)", text, config.Size(r.need>>20<<20), r.why), fix}}
	}
	return []Finding{{name, OK, text, ""}}
}

// existing is the directory itself, or the nearest above it that is there: the
// service makes the rest.
func existing(dir string) (string, error) {
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		switch {
		case err == nil && !info.IsDir():
			return at, &fs.PathError{Op: "open", Path: at, Err: syscall.ENOTDIR}
		case err == nil:
			return at, nil
		case !errors.Is(err, fs.ErrNotExist), at == filepath.Dir(at):
			return at, err
		}
	}
}

func tryWriting(dir string) error {
	f, err := os.CreateTemp(dir, ".tidewaiter-doctor-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString("written to see whether it can be\n")
	return errors.Join(err, f.Close(), os.Remove(f.Name()))
}

// reason is an error of the file system without the path, which is told already.
func reason(err error) string {
	var with *fs.PathError
	if errors.As(err, &with) {
		return with.Err.Error()
	}
	return err.Error()
}

func fixOfDirectory(r room, at string, err error) string {
	switch {
	case errors.Is(err, syscall.EROFS):
		return fmt.Sprintf("mount a volume that can be written to there, or name another directory with %s", r.key)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("let the user of the service write to %s (chown), or name another directory with %s", at, r.key)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Sprintf("make room, or name another disk with %s", r.key)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Sprintf("%s is no directory: name another one with %s", at, r.key)
	}
	return "make the directory, writable for the user of the service, or name another one with " + r.key
}
