package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// newPool is a pool of children of this test program.
func newPool(t *testing.T, o Options) *Pool {
	t.Helper()
	o.Args = append([]string{asChild}, o.Args...)
	if o.Count == 0 {
		o.Count = 1
	}
	if o.Private == nil {
		o.Private = []Room{{Parent: t.TempDir()}}
	}
	p := New(o)
	t.Cleanup(p.Close)
	return p
}

// do gives a child one order and returns its answer.
func do(t *testing.T, p *Pool, order string) (string, error) {
	t.Helper()
	return doWithin(t.Context(), p, order)
}

func doWithin(ctx context.Context, p *Pool, order string) (answer string, err error) {
	err = p.Run(ctx, func(_ context.Context, c *Conn) error {
		answer, err = ask(c, order)
		return err
	})
	return answer, err
}

func ask(c *Conn, order string) (string, error) {
	if err := c.Send(Frame{kindDo, []byte(order)}); err != nil {
		return "", err
	}
	f, err := c.Receive(atMost(1 << 20))
	if err != nil {
		return "", err
	}
	if f.Kind != kindSaid {
		return "", c.Broke("not an answer")
	}
	return string(f.Body), nil
}

// must gives an order that has to succeed.
func must(t *testing.T, p *Pool, order string) string {
	t.Helper()
	answer, err := do(t, p, order)
	if err != nil || strings.HasPrefix(answer, "error: ") {
		t.Fatalf("%s: %q, %v", order, answer, err)
	}
	return answer
}

// works says that the next job after a failure is done.
func works(t *testing.T, p *Pool) {
	t.Helper()
	if got := must(t, p, "echo still here"); got != "still here" {
		t.Errorf("the next job answered %q", got)
	}
}

// until waits for a condition.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come about", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// running reports whether a process is there and not only its entry in a table.
func running(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z") && !strings.HasPrefix(after, "X")
}

// logged is a logger whose lines can be read.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// beParent starts a child, says its number and waits to be killed.
func beParent(dir string) {
	p := New(Options{Args: []string{asChild}, Count: 1, Private: []Room{{Parent: dir}}})
	_ = p.Run(context.Background(), func(_ context.Context, c *Conn) error {
		pid, err := ask(c, "pid")
		if err != nil {
			return err
		}
		fmt.Println(pid)
		_, err = ask(c, "spin")
		return err
	})
}

func atMost(bytes int64) func(byte) int64 { return func(byte) int64 { return bytes } }
