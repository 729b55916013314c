package pgtest

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/localpostgres"
)

// startPrivate starts a server in a directory of its own and returns its URL.
func startPrivate(ctx context.Context) (string, error) {
	dir, err := os.MkdirTemp(fastDir(), "tidewaiter-pgtest-")
	if err != nil {
		return "", errs.Op("temporary directory", err)
	}
	s, err := localpostgres.Start(ctx, localpostgres.Config{DataDir: dir})
	if err != nil {
		_ = os.RemoveAll(dir)
		if hint := errs.Hint(err); hint != "" {
			return "", errs.Op(hint, err)
		}
		return "", err
	}
	return s.URL(), guard(s, dir)
}

// cleanup runs in a shell of its own: it reads until the test process is gone,
// whichever way, then ends the server and removes its directory.
const cleanup = `
trap '' INT TERM HUP
read -r forever
kill -QUIT "$1" 2>/dev/null
tries=0
while [ -e "$2/pgdata/postmaster.pid" ] && kill -0 "$1" 2>/dev/null && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries+1)); done
rm -rf -- "$2"
`

// guard starts the clean-up. The pipe's only writing end is ours and is never
// written to; the kernel closes it when this process ends.
func guard(s *localpostgres.Server, dir string) error {
	cmd := exec.Command("/bin/sh", "-c", cleanup, "sh", strconv.Itoa(s.PID()), dir)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // not in reach of Ctrl-C
	if _, err := cmd.StdinPipe(); err != nil {
		return errs.Op("start clean-up", err)
	}
	if err := cmd.Start(); err != nil {
		return errs.Op("start clean-up", err)
	}
	go func() { _ = cmd.Wait() }() // holds cmd, and so the pipe's end
	return nil
}
