// Package cgroup tells what a container may have of the machine, as Linux
// control groups say it.
//
// It is responsible for reading limits only. It must not change any, and what
// follows from a limit is the caller's business.
package cgroup

import (
	"bufio"
	"bytes"
	"io/fs"
	"math"
	"os"
	"path"
	"strconv"
	"strings"
)

// MemoryLimit returns how many bytes of memory this process and all others of
// its container may have together, by version 1 or 2 of control groups. ok is
// false when there is no limit, or none that can be read.
func MemoryLimit() (limit int64, ok bool) { return memoryLimit(os.DirFS("/")) }

// Where the two versions are mounted, and what their files are called.
const (
	unified, unifiedFile = "sys/fs/cgroup", "memory.max"
	legacy, legacyFile   = "sys/fs/cgroup/memory", "memory.limit_in_bytes"

	// unlimited is the least of the numbers that version 1 says for "no limit":
	// no machine has a quarter of all addresses.
	unlimited = math.MaxInt64 / 4
)

// memoryLimit is the least limit of the process's group and of all above it. In
// a container the path that the kernel tells may be that on the host, which is
// not there; the walk upwards then ends at the container's own group.
func memoryLimit(system fs.FS) (least int64, ok bool) {
	groups, err := fs.ReadFile(system, "proc/self/cgroup")
	if err != nil {
		return 0, false
	}
	least = unlimited
	lines := bufio.NewScanner(bytes.NewReader(groups))
	for lines.Scan() {
		// hierarchy:controllers:path; version 2 is hierarchy 0 without controllers.
		parts := strings.SplitN(lines.Text(), ":", 3)
		if len(parts) != 3 {
			continue
		}
		switch {
		case parts[0] == "0":
			least = min(least, leastAbove(system, unified, parts[2], unifiedFile))
		case hasController(parts[1], "memory"):
			least = min(least, leastAbove(system, legacy, parts[2], legacyFile))
		}
	}
	return least, least < unlimited
}

func hasController(list, name string) bool {
	for controller := range strings.SplitSeq(list, ",") {
		if controller == name {
			return true
		}
	}
	return false
}

// leastAbove reads the limit of a group and of each group above it.
func leastAbove(system fs.FS, mount, group, file string) int64 {
	least := int64(unlimited)
	for group = path.Clean("/" + group); ; group = path.Dir(group) {
		if text, err := fs.ReadFile(system, path.Join(mount, group, file)); err == nil {
			// "max" is no number, and no limit.
			if limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && limit > 0 {
				least = min(least, limit)
			}
		}
		if group == "/" {
			return least
		}
	}
}
