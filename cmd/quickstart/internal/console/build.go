package console

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
)

// Build compiles a program of the module at root and reports how far it is. It
// is built as `go build` and `go test` would, so that they share what is
// compiled; only version stamping is off, which fails where the clone belongs
// to another user. attributes may change how the compiler is run.
func Build(ctx context.Context, root, target, pkg string, report func(string), attributes func(*exec.Cmd)) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-v", "-buildvcs=false", "-o", target, pkg)
	cmd.Dir = root
	progress := &compiled{report: report}
	cmd.Stderr = progress
	attributes(cmd)
	// attributes may tie the compiler to the thread that starts it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("build %s: %w", pkg, ctx.Err())
		}
		return fmt.Errorf("build %s: %w\n%s", pkg, err, progress.complaint())
	}
	return nil
}

// compiled counts the packages that `go build -v` names.
type compiled struct {
	report func(string)
	text   bytes.Buffer
	count  int
}

// Write takes what the compiler says.
func (c *compiled) Write(p []byte) (int, error) {
	c.text.Write(p)
	for line := range strings.Lines(string(p)) {
		if module, ok := strings.CutPrefix(line, "go: downloading "); ok {
			c.report("downloading " + strings.TrimSpace(module))
			continue
		}
		c.count++
		c.report(fmt.Sprintf("%d packages compiled", c.count))
	}
	return len(p), nil
}

// complaint returns what was printed besides the names of packages: what
// follows the first comment line, the compiler's way to begin.
func (c *compiled) complaint() string {
	text := c.text.String()
	if i := strings.Index(text, "# "); i >= 0 {
		text = text[i:]
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}
