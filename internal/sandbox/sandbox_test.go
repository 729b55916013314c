package sandbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

func TestOneChildDoesManyJobs(t *testing.T) {
	p := newPool(t, Options{})
	first := must(t, p, "pid")
	if second := must(t, p, "pid"); second != first {
		t.Errorf("the second job was done by process %s, the first by %s", second, first)
	}
}

func TestChildrenAreReplacedWhenTheyAge(t *testing.T) {
	p := newPool(t, Options{Jobs: 2})
	var pids []string
	for range 4 {
		pids = append(pids, must(t, p, "pid"))
	}
	if pids[0] != pids[1] || pids[2] != pids[3] || pids[0] == pids[2] {
		t.Errorf("four jobs were done by %v; each process is to do two", pids)
	}
}

func TestJobsRunBesideEachOther(t *testing.T) {
	p := newPool(t, Options{Count: 2})
	p.Warm()
	var met sync.WaitGroup
	met.Add(2)
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			err := p.Run(t.Context(), func(_ context.Context, c *Conn) error {
				met.Done()
				met.Wait()
				_, err := ask(c, "echo x")
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestWhatBreaksAChildCostsThatJobOnly(t *testing.T) {
	t.Parallel()
	tests := []struct {
		order string
		kind  errs.Kind
		words string
	}{
		{"panic", errs.Malformed, "a parser fell over"},
		{"recursion", errs.Malformed, "stack"},
		{"garbage", errs.Malformed, "a message of"},
		{"silence", errs.Malformed, "gone"},
	}
	for _, test := range tests {
		t.Run(test.order, func(t *testing.T) {
			t.Parallel()
			var log logged
			p := newPool(t, Options{Logger: log.logger()})
			_, err := do(t, p, test.order)
			if !errs.Is(err, test.kind) || !strings.Contains(err.Error(), "two worker processes crashed") {
				t.Errorf("got %v, want kind %s", err, test.kind)
			}
			if !strings.Contains(log.String(), test.words) {
				t.Errorf("the log does not say %q:\n%s", test.words, log.String())
			}
			works(t, p)
		})
	}
}

// A child that something outside killed has done no wrong: its job is done again.
func TestAKilledChildIsReplacedAndTheJobDoneAgain(t *testing.T) {
	p := newPool(t, Options{})
	victims := 0
	err := p.Run(t.Context(), func(_ context.Context, c *Conn) error {
		if victims++; victims == 1 {
			_ = c.child.process.Process.Kill()
		}
		answer, err := ask(c, "echo twice")
		if err == nil && answer != "twice" {
			t.Errorf("got %q", answer)
		}
		return err
	})
	if err != nil || victims != 2 {
		t.Errorf("the job was tried %d times and ended with %v; want twice and well", victims, err)
	}
}

func TestAJobWhoseChildrenTheSystemKillsIsTriedLater(t *testing.T) {
	p := newPool(t, Options{})
	err := p.Run(t.Context(), func(_ context.Context, c *Conn) error {
		_ = c.child.process.Process.Kill()
		_, err := ask(c, "echo never")
		return err
	})
	if !errs.Is(err, errs.Unavailable) || !strings.Contains(errs.Hint(err), "memory") {
		t.Errorf("got %v (%s), want kind unavailable and a hint at memory", err, errs.Hint(err))
	}
	works(t, p)
}

func TestAHangEndsWithItsDeadline(t *testing.T) {
	t.Parallel()
	for _, order := range []string{"hang", "spin"} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			p := newPool(t, Options{})
			works(t, p)
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			if _, err := doWithin(ctx, p, order); !errs.Is(err, errs.Timeout) {
				t.Errorf("got %v, want kind timeout", err)
			}
			works(t, p)
		})
	}
}

func TestACanceledJobEndsAtOnce(t *testing.T) {
	p := newPool(t, Options{})
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errs.New(errs.Canceled, "somebody else does it")
	err := p.Run(ctx, func(_ context.Context, c *Conn) error {
		cancel(why)
		_, err := ask(c, "hang")
		return err
	})
	if !errs.Is(err, errs.Canceled) || !errors.Is(err, why) {
		t.Errorf("got %v, want the cause", err)
	}
}

// An orderly failure may be the child's doing: it does not get another job,
// unless the job knows better.
func TestAFailureCostsTheChildUnlessSettled(t *testing.T) {
	p := newPool(t, Options{})
	fail := errs.New(errs.NotFound, "nothing there")
	for _, settled := range []bool{false, true} {
		before := must(t, p, "pid")
		err := p.Run(t.Context(), func(_ context.Context, c *Conn) error {
			if settled {
				c.Settle()
			}
			return fail
		})
		if !errors.Is(err, fail) {
			t.Errorf("got %v, want the job's own error", err)
		}
		if same := must(t, p, "pid") == before; same != settled {
			t.Errorf("settled %t: the same child did the next job: %t", settled, same)
		}
	}
}

func TestAPanicOfTheJobDoesNotKeepTheChild(t *testing.T) {
	p := newPool(t, Options{})
	func() {
		defer func() { _ = recover() }()
		_ = p.Run(t.Context(), func(context.Context, *Conn) error { panic("in the parent") })
	}()
	works(t, p)
}

func TestAChildThatDoesNotStartIsUnavailable(t *testing.T) {
	p := newPool(t, Options{Args: []string{"unready"}})
	_, err := do(t, p, "echo x")
	if !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "no licences here") {
		t.Errorf("got %v, want kind unavailable with what the child said", err)
	}
	p = newPool(t, Options{Program: filepath.Join(t.TempDir(), "missing")})
	if _, err := do(t, p, "echo x"); !errs.Is(err, errs.Unavailable) {
		t.Errorf("got %v, want kind unavailable", err)
	}
}

func TestStreamsArriveWhole(t *testing.T) {
	p := newPool(t, Options{})
	content := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
	for _, limit := range []string{"", "1000"} { // read to the end, or left after a while
		var answer string
		err := p.Run(t.Context(), func(_ context.Context, c *Conn) error {
			if err := c.Send(Frame{kindDo, []byte("lanes " + limit)}); err != nil {
				return err
			}
			var sending sync.WaitGroup
			for lane := range Lanes {
				sending.Go(func() {
					if err := c.Stream(lane, bytes.NewReader(content[:len(content)-lane]), nil); err != nil {
						t.Error(err)
					}
				})
			}
			f, err := c.Receive(atMost(1 << 10))
			sending.Wait()
			answer = string(f.Body)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		cut := func(lane int) []byte {
			if limit != "" {
				return content[:1000]
			}
			return content[:len(content)-lane]
		}
		if diff := cmp.Diff(sums(cut(0), cut(1), cut(2)), answer); diff != "" {
			t.Errorf("limit %q (-sent +received):\n%s", limit, diff)
		}
	}
}

func sums(contents ...[]byte) string {
	var all []string
	for _, c := range contents {
		sum := sha256.Sum256(c)
		all = append(all, hex.EncodeToString(sum[:]))
	}
	text, _ := json.Marshal(all)
	return string(text)
}

func TestAStreamThatBreaksOffIsSeenAsThat(t *testing.T) {
	p := newPool(t, Options{})
	lost := errs.New(errs.Unavailable, "the registry is gone")
	var answer string
	err := p.Run(t.Context(), func(_ context.Context, c *Conn) error {
		if err := c.Send(Frame{kindDo, []byte("lanes")}); err != nil {
			return err
		}
		if err := c.Stream(0, io.MultiReader(strings.NewReader("some"), failing{lost}), nil); !errors.Is(err, lost) {
			t.Errorf("got %v, want the reader's error", err)
		}
		stop := make(chan struct{})
		close(stop)
		if err := c.Stream(1, strings.NewReader("unwanted"), stop); err != nil {
			t.Error(err)
		}
		if err := c.Cut(2); err != nil {
			t.Error(err)
		}
		f, err := c.Receive(atMost(1 << 10))
		answer = string(f.Body)
		return err
	})
	if err != nil || strings.Count(answer, ErrCut.Error()) != 3 {
		t.Errorf("the child read %s, %v; want every stream cut", answer, err)
	}
	works(t, p)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestEveryJobFindsAnEmptyDirectory(t *testing.T) {
	parent := t.TempDir()
	p := newPool(t, Options{Private: []Room{{Parent: parent}}})
	dir := must(t, p, "dirs")
	must(t, p, "litter")
	if left := list(t, dir); len(left) != 0 {
		t.Errorf("after the job %v is left", left)
	}
	if must(t, p, "dirs") != dir {
		t.Error("another child did the second job")
	}
	p.Close()
	if left := list(t, parent); len(left) != 0 {
		t.Errorf("after the pool %v is left", left)
	}
}

func list(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != ".lock" {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestChatterIsBounded(t *testing.T) {
	var log logged
	p := newPool(t, Options{Logger: log.logger()})
	must(t, p, "chatter")
	if n := len(log.String()); n == 0 || n > 100<<10 {
		t.Errorf("90 MB on standard error made %d bytes of log", n)
	}
}

func TestACloseEndsWhatRuns(t *testing.T) {
	p := newPool(t, Options{})
	errc := make(chan error)
	go func() {
		errc <- p.Run(context.Background(), func(_ context.Context, c *Conn) error {
			go p.Close()
			_, err := ask(c, "hang")
			return err
		})
	}()
	if err := <-errc; !errs.Is(err, errs.Canceled) {
		t.Errorf("got %v, want kind canceled", err)
	}
	if _, err := do(t, p, "echo x"); !errs.Is(err, errs.Canceled) {
		t.Errorf("after Close: %v, want kind canceled", err)
	}
}
