package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// usage is what processes took of the machine.
type usage struct {
	cpu     time.Duration
	written int64 // bytes handed to the disk
}

func (u usage) since(before usage) usage {
	return usage{cpu: u.cpu - before.cpu, written: u.written - before.written}
}

// process is a line of the table of processes.
type process struct {
	parent   int
	cpu      time.Duration // its own and that of children that ended
	resident int64         // bytes
	written  int64
}

// usageOf sums up a process and all below it. Where there is no /proc it is
// zero.
func usageOf(pid int) usage {
	var u usage
	for _, p := range tree(pid, true) {
		u.cpu += p.cpu
		u.written += p.written
	}
	return u
}

// tree lists a process and those below it.
func tree(root int, withWritten bool) map[int]process {
	all := processes()
	below := map[int]process{}
	for pid, p := range all {
		for at, hops := pid, 0; at > 1 && hops < 32; at, hops = all[at].parent, hops+1 {
			if at == root {
				if withWritten {
					p.written = writtenBy(pid)
				}
				below[pid] = p
				break
			}
		}
	}
	return below
}

func processes() map[int]process {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	all := map[int]process{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, ok := readProcess(pid); ok {
			all[pid] = p
		}
	}
	return all
}

// readProcess reads /proc/PID/stat (proc(5)): the name, in parentheses, may hold
// anything.
func readProcess(pid int) (p process, ok bool) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return p, false
	}
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	const parent, user, childSystem, resident = 1, 11, 14, 21
	if len(fields) <= resident {
		return p, false
	}
	const tick = time.Second / 100 // USER_HZ is 100 on every architecture Go runs on
	p.parent, _ = strconv.Atoi(fields[parent])
	for _, f := range fields[user : childSystem+1] {
		n, _ := strconv.ParseInt(f, 10, 64)
		p.cpu += time.Duration(n) * tick
	}
	pages, _ := strconv.ParseInt(fields[resident], 10, 64)
	p.resident = pages * int64(os.Getpagesize())
	return p, true
}

func writtenBy(pid int) int64 {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	for line := range strings.Lines(string(raw)) {
		if n, ok := strings.CutPrefix(line, "write_bytes: "); ok {
			written, _ := strconv.ParseInt(strings.TrimSpace(n), 10, 64)
			return written
		}
	}
	return 0
}

// watch samples the resident memory of a process and those below it until stop,
// which returns the most there was at a time.
func watch(ctx context.Context, pid int) (stop func() int64) {
	ctx, cancel := context.WithCancel(ctx)
	var most int64
	var done sync.WaitGroup
	done.Go(func() {
		const pause = 50 * time.Millisecond
		for ctx.Err() == nil {
			var sum int64
			for _, p := range tree(pid, false) {
				sum += p.resident
			}
			most = max(most, sum)
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	})
	return func() int64 {
		cancel()
		done.Wait()
		return most
	}
}
