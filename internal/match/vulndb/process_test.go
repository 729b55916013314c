//go:build !windows

package vulndb

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The test binary runs itself to be another process over the same library.
const (
	roleEnv = "VULNDB_TEST_ROLE"
	dirEnv  = "VULNDB_TEST_DIR"
	fileEnv = "VULNDB_TEST_FILE"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		if err := runRole(role, os.Getenv(dirEnv), os.Getenv(fileEnv)); err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
		fmt.Println("done")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// runRole is what the other process does.
func runRole(role, dir, file string) error {
	config := Config{Dir: dir}
	if role == "update" {
		config.URL = file
	}
	lib, err := Open(config)
	if err != nil {
		return err
	}
	switch role {
	case "update":
		_, _, err = lib.Update(context.Background(), nil)
	case "hang": // in the middle of an import, until it is killed
		_, err = lib.Import(context.Background(), file, func(stage string, done, total int64) {
			if stage == "indexing" {
				fmt.Println("hanging")
				select {}
			}
		})
	case "no room": // no file may grow beyond what an archive needs
		signal.Ignore(syscall.SIGXFSZ)
		limit := syscall.Rlimit{Cur: 64 << 10, Max: 64 << 10}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			return err
		}
		_, err = lib.Import(context.Background(), file, nil)
	default:
		_, err = lib.Import(context.Background(), file, nil)
	}
	return err
}

// startRole starts another process and returns what it prints.
func startRole(t *testing.T, role, dir, file string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), roleEnv+"="+role, dirEnv+"="+dir, fileEnv+"="+file)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

// TestKilledImport kills a process while it imports: the library stays as it
// was, and the next import removes what the dead one left, but not what a
// living one works on.
func TestKilledImport(t *testing.T) {
	lib := openLibrary(t, Config{})
	before, err := lib.InstallSample(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	path := buildDated(t, sampleDate).Archive
	dead, deadOut := startRole(t, "hang", lib.Dir(), path)
	alive, aliveOut := startRole(t, "hang", lib.Dir(), path)
	for _, out := range []*bufio.Scanner{deadOut, aliveOut} {
		if !out.Scan() || out.Text() != "hanging" {
			t.Fatalf("the other process says %q", out.Text())
		}
	}
	if n := stages(t, lib); n != 2 {
		t.Fatalf("%d stages, want 2", n)
	}
	if err := dead.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = dead.Wait()
	wantUsable(t, lib, before)

	next := buildDated(t, sampleDate)
	in, err := lib.Import(t.Context(), next.Archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantUsable(t, lib, in)
	if n := stages(t, lib); n != 1 {
		t.Errorf("%d stages are left, want that of the living process", n)
	}
	_ = alive.Process.Kill()
	_ = alive.Wait()
	if s, err := lib.newStage(t.Context()); err != nil {
		t.Fatal(err)
	} else {
		s.close()
	}
	wantClean(t, lib)
}

// stages counts the directories in staging.
func stages(t *testing.T, lib *Library) (n int) {
	t.Helper()
	dirs, err := filepath.Glob(lib.path(stagingDir, "build-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		if !strings.HasSuffix(d, lockSuffix) {
			n++
		}
	}
	return n
}

// TestNoRoom imports where the disk takes no more.
func TestNoRoom(t *testing.T) {
	lib := openLibrary(t, Config{})
	before, err := lib.InstallSample(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	cmd, out := startRole(t, "no room", lib.Dir(), buildDated(t, sampleDate).Archive)
	var said string
	for out.Scan() {
		said = out.Text()
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(said, "file too large") {
		t.Fatalf("the other process says %q, %v", said, err)
	}
	wantUsable(t, lib, before)
	wantClean(t, lib)
}

// TestProcessesImportAtOnce lets processes, not only goroutines, share a library.
func TestProcessesImportAtOnce(t *testing.T) {
	lib := openLibrary(t, Config{})
	one, two := buildDated(t, sampleDate), buildDated(t, sampleDate.Add(time.Hour))
	var wg sync.WaitGroup
	for _, path := range []string{one.Archive, two.Archive, one.Archive} {
		cmd, out := startRole(t, "import", lib.Dir(), path)
		wg.Go(func() {
			for out.Scan() {
				if text := out.Text(); text != "done" {
					t.Errorf("the other process says %q", text)
				}
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	wantClean(t, lib)
	in, err := lib.Current()
	if err != nil {
		t.Fatal(err)
	}
	wantUsable(t, lib, in)
	if all, err := lib.List(); err != nil || len(all) != 2 {
		t.Errorf("%d builds (%v), want 2", len(all), err)
	}
}

// TestKilledDownload kills a process in the middle of a download: the next one
// fetches the rest and no more.
func TestKilledDownload(t *testing.T) {
	m := newMirror(t)
	report := m.publish(t, sampleDate)
	archive, err := os.ReadFile(report.Archive)
	if err != nil {
		t.Fatal(err)
	}
	half := len(archive) / 2
	m.setAnswer(func(w http.ResponseWriter, r *http.Request) bool {
		if path.Base(r.URL.Path) == "latest.json" {
			return false
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(archive)))
		_, _ = w.Write(archive[:half])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	})
	lib := m.library(t)
	dead, _ := startRole(t, "update", lib.Dir(), m.URL+"/databases/")
	part := lib.path(downloadsDir, "*"+partSuffix)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if found, _ := filepath.Glob(part); len(found) == 1 {
			if info, err := os.Stat(found[0]); err == nil && info.Size() == int64(half) {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("half of the archive did not arrive within a minute")
		}
	}
	if err := dead.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = dead.Wait()
	m.setAnswer(nil)
	m.asked()
	in, changed, err := lib.Update(t.Context(), nil)
	if err != nil || !changed || in.Checksum != report.Checksum {
		t.Fatalf("update gave %+v, %v, %v", in, changed, err)
	}
	want := "bytes=" + strconv.Itoa(half) + "-"
	if asked := m.asked(); len(asked) != 2 || !strings.HasSuffix(asked[1], want) {
		t.Errorf("asked for %q, want the archive from %s", asked, want)
	}
	wantUsable(t, lib, in)
	wantClean(t, lib)
}
