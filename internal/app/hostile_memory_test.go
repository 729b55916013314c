//go:build chaos && linux

package app_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	hostile "github.com/tidewaiter/tidewaiter/internal/hostileimage"
)

// TestTheServiceStaysSmall gives hostile images of real sizes to a service in a
// process of its own, one after the other, and looks at what that process has
// resident at most. Its workers have bounds of their own.
func TestTheServiceStaysSmall(t *testing.T) {
	const most = 768 << 20
	c := newChaos(t)
	sizes := hostileSizes
	cases := append(hostileNames(sizes, "/target"), hostileSizesOf(sizes)...)
	c.until(sizes.wait, `EXISTS (SELECT 1 FROM vuln_build WHERE state = 'active')`)
	last := c.resident()
	t.Logf("%4d MiB at the start", last>>20)
	for i, h := range cases {
		if h.lied {
			continue
		}
		if err := hostile.Push(t.Context(), c.registry.Host(), fmt.Sprintf("hostile/h%d", i), "1", h.from()); err != nil {
			t.Fatal(err)
		}
		c.until(sizes.wait, fmt.Sprintf(`EXISTS (SELECT 1 FROM scan s JOIN repository r ON r.id = s.repository_id WHERE r.name = 'hostile/h%d')
			AND NOT EXISTS (SELECT 1 FROM scan WHERE state IN ('queued', 'running'))`, i))
		if now := c.resident(); now != last {
			t.Logf("%4d MiB since %s", now>>20, h.name)
			last = now
		}
	}
	if last > most {
		t.Errorf("the service had %d MiB resident", last>>20)
	}
}

// resident is what the process has had in memory at most, in bytes.
func (c *chaos) resident() int64 {
	c.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.process.Process.Pid))
	if err != nil {
		c.t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	fields := strings.Fields(after)
	if len(fields) == 0 {
		c.t.Fatal("the process tells nothing of its memory")
	}
	kib, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		c.t.Fatal(err)
	}
	return kib << 10
}
