//go:build unix

package localpostgres

import (
	"context"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// The server's own words for stopping: fast drops connections and writes a
// checkpoint, immediate leaves recovery to the next start.
const (
	signalFast      = syscall.SIGINT
	signalImmediate = syscall.SIGQUIT
)

// account is whom the server runs as. The zero value is the present user.
type account struct {
	credential *syscall.Credential
}

// serverAccount returns the present user, or for root an unprivileged one:
// "postgres", which the server's package creates, else "nobody".
func serverAccount() (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			return accountOf(u)
		}
	}
	return account{}, errs.New(errs.NotFound, "localpostgres: PostgreSQL refuses to run as root and there is neither a user postgres nor nobody").
		WithHint("create one (useradd --system postgres), or run as another user")
}

func accountOf(u *user.User) (account, error) {
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return account{}, errs.Op("localpostgres: user id", err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return account{}, errs.Op("localpostgres: group id", err)
	}
	return account{&syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

// own gives a directory to the account, with everything in it.
func (a account) own(dir string) error {
	if a.credential == nil {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(a.credential.Uid), int(a.credential.Gid))
	})
}

// command prepares a program to run as the account. args receives the name by
// which the program can reach dataDir. release is called after the start.
func (a account) command(ctx context.Context, dataDir, program string, args func(dir string) []string) (*exec.Cmd, func(), error) {
	dir, files, err := a.reach(dataDir)
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, program, args(dir)...)
	cmd.Dir = "/" // the present directory may be closed to the account
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	cmd.ExtraFiles = files
	// A group of its own: Ctrl-C in the terminal is for us to pass on.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: a.credential, Setpgid: true}
	release := func() {
		for _, f := range files {
			_ = f.Close()
		}
	}
	return cmd, release, nil
}

// lockDirectory takes the directory for this process.
func lockDirectory(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, errs.Op("localpostgres: lock", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, errs.New(errs.Conflict, "localpostgres: %s is in use by another process", dir).
			WithHint("stop the other one, or choose another data directory")
	}
	return f, nil
}

// askToStop requests a fast shutdown of a server that is not our child.
func askToStop(pid int) { _ = syscall.Kill(pid, signalFast) }
