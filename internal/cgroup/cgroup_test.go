package cgroup

import (
	"testing"
	"testing/fstest"
)

func TestMemoryLimit(t *testing.T) {
	for _, test := range []struct {
		name  string
		files map[string]string
		want  int64 // 0 for none
	}{
		{"version 2 in a container of its own", map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "2147483648\n",
		}, 2 << 30},
		{"version 2, no limit", map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n",
		}, 0},
		{"version 2, the group above has less", map[string]string{
			"proc/self/cgroup":                              "0::/pods.slice/one.scope\n",
			"sys/fs/cgroup/pods.slice/memory.max":           "1073741824\n",
			"sys/fs/cgroup/pods.slice/one.scope/memory.max": "2147483648\n",
		}, 1 << 30},
		{"version 1, the path is that on the host", map[string]string{
			"proc/self/cgroup":                           "8:cpu,cpuacct:/docker/abc\n9:memory:/docker/abc\n0::/docker/abc\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "4294967296\n",
		}, 4 << 30},
		{"version 1, no limit", map[string]string{
			"proc/self/cgroup":                           "9:memory:/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, 0},
		{"a path that climbs stays below the mount", map[string]string{
			"proc/self/cgroup": "0::/../../..\n", "sys/fs/cgroup/memory.max": "1000\n", "memory.max": "1\n",
		}, 1000},
		{"nonsense", map[string]string{
			"proc/self/cgroup": "what\n0::/\n", "sys/fs/cgroup/memory.max": "-5 GB\n",
		}, 0},
		{"another system", nil, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			system := fstest.MapFS{}
			for path, text := range test.files {
				system[path] = &fstest.MapFile{Data: []byte(text)}
			}
			got, ok := memoryLimit(system)
			if ok != (test.want != 0) || ok && got != test.want {
				t.Errorf("got %d, %v, want %d", got, ok, test.want)
			}
		})
	}
}
