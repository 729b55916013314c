package localpostgres

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// superuser is the role every cluster is created with.
const superuser = "tidewaiter"

// cluster is a data directory on disk.
type cluster struct {
	dir        string
	secretFile string
	account    account
}

// major returns the version that created the cluster, 0 when there is none.
func (c *cluster) major() int {
	text, err := os.ReadFile(filepath.Join(c.dir, "PG_VERSION"))
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return n
}

// create makes the cluster unless it exists and returns its password. What an
// interrupted creation left behind is removed first: PG_VERSION alone does not
// prove a finished cluster, the password file written last does.
func (c *cluster) create(ctx context.Context, bin programs, progress func(string)) (string, error) {
	const op = "localpostgres: create cluster"
	secret, err := os.ReadFile(c.secretFile)
	if err == nil && c.major() != 0 {
		return strings.TrimSpace(string(secret)), nil
	}
	progress("creating a database cluster in " + c.dir)
	if err := os.RemoveAll(c.dir); err != nil {
		return "", errs.Op(op, err)
	}
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		return "", errs.Op(op, err)
	}
	if err := c.account.own(c.dir); err != nil {
		return "", errs.Op(op, err)
	}
	if err := c.initdb(ctx, bin); err != nil {
		return "", err
	}
	if err := os.Rename(c.secretFile+".new", c.secretFile); err != nil {
		return "", errs.Op(op, err)
	}
	secret, err = os.ReadFile(c.secretFile)
	return strings.TrimSpace(string(secret)), errs.Op(op, err)
}

// initdb runs the program of that name. The password goes in as its standard
// input, never through the command line.
func (c *cluster) initdb(ctx context.Context, bin programs) error {
	secret, err := c.newSecret()
	if err != nil {
		return errs.Op("localpostgres: password", err)
	}
	defer secret.Close()
	cmd, release, err := c.account.command(ctx, c.dir, filepath.Join(bin.dir, "initdb"), func(dir string) []string {
		return []string{
			"-D", dir, "-U", superuser, "--pwfile=/dev/stdin", "--auth=scram-sha-256",
			"--encoding=UTF8", "--no-locale", "--no-sync",
		}
	})
	if err != nil {
		return err
	}
	defer release()
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = secret, &out, &out
	if err := cmd.Run(); err != nil {
		return errs.Wrap(errs.KindOf(errors.Join(ctx.Err(), err)), "localpostgres: initdb: "+lastLines(out.String(), 5), err)
	}
	return nil
}

// newSecret writes a fresh password beside its final place and returns the
// file. It is a file, not a pipe, and belongs to the account: /dev/stdin opens
// what it stands for once more, with the account's permissions.
func (c *cluster) newSecret() (*os.File, error) {
	f, err := os.OpenFile(c.secretFile+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString(rand.Text() + "\n")
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err == nil {
		err = c.account.own(f.Name())
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// clearPrevious makes room when an earlier server of this directory was not
// stopped: one still running is stopped, a pid file without a server is
// removed. The directory's lock is held, so nobody else is using it.
func (c *cluster) clearPrevious(ctx context.Context) error {
	file := filepath.Join(c.dir, "postmaster.pid")
	deadline := time.Now().Add(time.Minute)
	for asked := false; ; asked = true {
		pid, ok := readPID(file)
		if !ok {
			return nil
		}
		if !isPostgres(pid) {
			return os.Remove(file)
		}
		if !asked {
			askToStop(pid)
		}
		if time.Now().After(deadline) {
			return errs.New(errs.Conflict, "localpostgres: process %d still uses %s", pid, c.dir).
				WithHint("stop that process, or choose another data directory")
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// readPID reads the first line of a pid file; false when there is none.
func readPID(file string) (int, bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid <= 1 {
		// A torn file: let isPostgres find nobody and the file go.
		return 0, true
	}
	return pid, true
}

// pause waits, or returns early with the context's error.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return errs.Op("localpostgres: wait", ctx.Err())
	}
}

// lastLines returns the end of a text for an error message.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
