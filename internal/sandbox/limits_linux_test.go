package sandbox

import (
	"bufio"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

func TestTooMuchMemoryEndsTheJob(t *testing.T) {
	p := newPool(t, Options{Memory: 256 << 20})
	_, err := do(t, p, "eat 2000")
	if !errs.Is(err, errs.TooLarge) || !strings.Contains(err.Error(), "needs more than 256 MiB of memory") {
		t.Errorf("got %v, want kind too_large and how much memory", err)
	}
	works(t, p)
}

// What is asked for at once would be there before anybody looks.
func TestALeapOfMemoryEndsTheJob(t *testing.T) {
	p := newPool(t, Options{Memory: 256 << 20})
	if _, err := do(t, p, "leap"); !errs.Is(err, errs.TooLarge) {
		t.Errorf("got %v, want kind too_large", err)
	}
	works(t, p)
}

func TestTooMuchOnDiskEndsTheJob(t *testing.T) {
	p := newPool(t, Options{Private: []Room{{Parent: t.TempDir(), Bytes: 8 << 20}, {Parent: t.TempDir(), Bytes: 64 << 20}}})
	err := p.Run(t.Context(), func(_ context.Context, c *Conn) error {
		if answer, err := ask(c, "fill 0 20"); err != nil || answer != "full" {
			return c.Broke("it could not write: " + answer)
		}
		_, err := c.Receive(atMost(0)) // nothing comes: it hangs now
		return err
	})
	if !errs.Is(err, errs.TooLarge) || !strings.Contains(err.Error(), "needs more than 8 MiB on disk") {
		t.Errorf("got %v, want kind too_large and how much", err)
	}
	// One file beyond all that it may write is refused at once.
	if answer, err := do(t, p, "fill 1 100"); err == nil && !strings.Contains(answer, "too large") {
		t.Errorf("got %q", answer)
	}
	works(t, p)
}

func TestAFullDiskEndsTheJob(t *testing.T) {
	full := make(chan struct{})
	p := newPool(t, Options{Guard: func() error {
		select {
		case <-full:
			return errs.New(errs.Unavailable, "the disk is full")
		default:
			return nil
		}
	}})
	time.AfterFunc(50*time.Millisecond, func() { close(full) })
	if _, err := do(t, p, "hang"); !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("got %v, want the guard's error", err)
	}
}

func TestAChildHasNothingOfOurs(t *testing.T) {
	t.Setenv("TIDEWAITER_DATABASE_URL", "postgres://user:secret@host/db")
	// A file that whoever started us left open for every process.
	secret := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Open(secret, syscall.O_RDONLY, 0) // without O_CLOEXEC
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(fd) }()

	p := newPool(t, Options{Memory: 1 << 30})
	for line := range strings.Lines(must(t, p, "environ")) {
		switch name, _, _ := strings.Cut(line, "="); name {
		case "GOMAXPROCS", "GOMEMLIMIT", "TMPDIR":
		default:
			t.Errorf("the child's environment has %s", line)
		}
	}
	var leaked syscall.Stat_t
	if err := syscall.Stat(secret, &leaked); err != nil {
		t.Fatal(err)
	}
	for _, open := range strings.Fields(must(t, p, "files")) {
		part := strings.Split(open, ":") // number, kind, inode
		n, _ := strconv.Atoi(part[0])
		const pipe, socket = "10000", "140000"
		if n < firstLane+Lanes && part[1] != pipe || part[1] == socket || part[2] == strconv.FormatUint(leaked.Ino, 10) {
			t.Errorf("the child has file %s of kind %s open", part[0], part[1])
		}
	}
}

func TestAChildReachesNothingButItsFiles(t *testing.T) {
	if _, err := landlockVersion(); err != nil {
		t.Log("this kernel has no Landlock: only what the filter of calls refuses is looked at")
	}
	dirs := map[string]string{"readable": t.TempDir(), "other": t.TempDir(), "private": t.TempDir()}
	for _, dir := range dirs {
		if err := os.WriteFile(filepath.Join(dir, "file"), []byte("content"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	victim := exec.Command("sleep", "600")
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = victim.Process.Kill(); _ = victim.Wait() }()

	p := newPool(t, Options{Private: []Room{{Parent: dirs["private"]}}, Readable: []string{dirs["readable"]}})
	own := filepath.Join(must(t, p, "dirs"), "mine")
	must(t, p, "write "+own)
	if got := must(t, p, "read "+filepath.Join(dirs["readable"], "file")); got != "content" {
		t.Errorf("the child read %q of what it may read", got)
	}
	me := strconv.Itoa(os.Getpid())
	refused := []string{"dial " + listener.Addr().String(), "resolve 127.0.0.1:53", "kill " + strconv.Itoa(victim.Process.Pid)}
	if _, err := landlockVersion(); err == nil {
		refused = append(refused, "write "+filepath.Join(dirs["readable"], "file"), "read "+filepath.Join(dirs["other"], "file"),
			"read /etc/passwd", "read /proc/"+me+"/environ", "read /proc/"+me+"/mem", "write "+filepath.Join(dirs["private"], "beside"))
	}
	for _, order := range refused {
		answer, err := do(t, p, order)
		if err != nil || !strings.HasPrefix(answer, "error: ") {
			t.Errorf("%s: the child answers %.60q, %v; want it refused", order, answer, err)
		}
	}
}

func TestChildrenGoBehindOthers(t *testing.T) {
	p := newPool(t, Options{})
	err := p.Run(t.Context(), func(_ context.Context, c *Conn) error {
		pid := c.child.process.Process.Pid
		// Every thread of it, not only the first.
		tasks, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/stat")
		if err != nil || len(tasks) < 2 {
			t.Errorf("threads: %v, %v", tasks, err)
		}
		for _, task := range tasks {
			if nice := nicenessOf(task); nice != strconv.Itoa(niceness) && nice != "" {
				t.Errorf("%s has niceness %s", task, nice)
			}
		}
		score, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/oom_score_adj")
		if got := strings.TrimSpace(string(score)); got != "500" {
			t.Errorf("oom_score_adj is %q, %v", got, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	// Our own threads are as they were; the one that the child was started from is
	// gone.
	until(t, "the end of the child's thread", func() bool {
		mine, _ := filepath.Glob("/proc/self/task/*/stat")
		return !slices.ContainsFunc(mine, func(task string) bool { return nicenessOf(task) == strconv.Itoa(niceness) })
	})
}

// nicenessOf reads it from a stat file; empty when the thread ended.
func nicenessOf(task string) string {
	stat, err := os.ReadFile(task)
	if err != nil {
		return ""
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return strings.Fields(after)[16]
}

func TestChildrenEndWithTheirParent(t *testing.T) {
	dir := t.TempDir()
	parent := exec.Command(os.Args[0], asParent, dir)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	parent.Stderr = os.Stderr
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || !running(pid) {
		t.Fatalf("child %q is not running: %v", line, err)
	}
	_ = parent.Process.Kill() // nothing can be done about it
	_ = parent.Wait()
	until(t, "the end of the child", func() bool { return !running(pid) })
	// What it had is swept by the next process; not before a minute, so age it.
	if len(list(t, dir)) != 1 {
		t.Fatalf("the killed parent left %v", list(t, dir))
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(dir, list(t, dir)[0]), old, old); err != nil {
		t.Fatal(err)
	}
	newPool(t, Options{Private: []Room{{Parent: dir}}})
	until(t, "the sweep", func() bool { return len(list(t, dir)) == 0 })
}
