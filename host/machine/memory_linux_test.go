package machine

import (
	"testing"
	"testing/fstest"
)

const gib = 1 << 30

// Whoever sets the limit is found, wherever the process's cgroup is in the tree.
func TestFindMemory(t *testing.T) {
	const (
		v2 = "25 30 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
		v1 = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n" +
			"36 31 0:33 / /sys/fs/cgroup/cpu rw,relatime shared:10 - cgroup cgroup rw,cpu\n"
	)
	for name, test := range map[string]struct {
		mounts, groups string
		files          map[string]string
		want           int64
		source         string
	}{
		"no cgroup": {want: 8 * gib, source: "MemTotal"},
		"v2, no limit": {v2, "0::/a.slice/b.service\n", map[string]string{
			"sys/fs/cgroup/a.slice/b.service/memory.max": "max\n",
		}, 8 * gib, "MemTotal"},
		"v2, its own": {v2, "0::/a.slice/b.service\n", map[string]string{
			"sys/fs/cgroup/a.slice/b.service/memory.max": "1073741824\n",
			"sys/fs/cgroup/a.slice/memory.max":           "max\n",
		}, gib, "/sys/fs/cgroup/a.slice/b.service/memory.max"},
		"v2, one above": {v2, "0::/a.slice/b.service\n", map[string]string{
			"sys/fs/cgroup/a.slice/b.service/memory.max": "4294967296\n",
			"sys/fs/cgroup/a.slice/memory.max":           "2147483648\n",
		}, 2 * gib, "/sys/fs/cgroup/a.slice/memory.max"},
		"v2, in a namespace": {v2, "0::/\n", map[string]string{
			"sys/fs/cgroup/memory.max": "1073741824\n",
		}, gib, "/sys/fs/cgroup/memory.max"},
		"v2, outside of its namespace": {v2, "0::/../../elsewhere\n", map[string]string{
			"sys/fs/cgroup/memory.max": "1073741824\n",
		}, gib, "/sys/fs/cgroup/memory.max"},
		"v1": {v1, "4:memory:/docker/0f\n2:cpu,cpuacct:/docker/0f\n0::/\n", map[string]string{
			"sys/fs/cgroup/memory/docker/0f/memory.limit_in_bytes": "1073741824\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":           "9223372036854771712\n",
		}, gib, "/sys/fs/cgroup/memory/docker/0f/memory.limit_in_bytes"},
		"v1, of which a container sees its part": {
			"35 31 0:32 /docker/0f /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n", "4:memory:/docker/0f/inner\n", map[string]string{
				"sys/fs/cgroup/memory/inner/memory.limit_in_bytes": "1073741824\n",
				"sys/fs/cgroup/memory/memory.limit_in_bytes":       "2147483648\n",
			}, gib, "/sys/fs/cgroup/memory/inner/memory.limit_in_bytes"},
		"v1, of which it sees another's": {
			"35 31 0:32 /docker/0f /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n", "4:memory:/docker/0f2\n", map[string]string{
				"sys/fs/cgroup/memory/memory.limit_in_bytes": "2147483648\n",
			}, 2 * gib, "/sys/fs/cgroup/memory/memory.limit_in_bytes"},
		"both, v1 the less": {
			v1 + "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n", "4:memory:/x\n0::/x\n", map[string]string{
				"sys/fs/cgroup/memory/x/memory.limit_in_bytes": "1073741824\n",
				"sys/fs/cgroup/unified/x/memory.max":           "2147483648\n",
			}, gib, "/sys/fs/cgroup/memory/x/memory.limit_in_bytes"},
		"a mount with a space": {`25 30 0:22 / /my\040groups rw - cgroup2 cgroup2 rw`, "0::/", map[string]string{
			"my groups/memory.max": "1073741824\n",
		}, gib, "/my groups/memory.max"},
		"more than the machine": {v2, "0::/\n", map[string]string{
			"sys/fs/cgroup/memory.max": "99999999999999\n",
		}, 8 * gib, "MemTotal"},
		"nonsense": {"1\n - \nx y z\n25 30 0:22 / /sys - cgroup2\n" + v2, "\n::\n0:\n0::/\n", map[string]string{
			"sys/fs/cgroup/memory.max": "-1\n",
		}, 8 * gib, "MemTotal"},
	} {
		t.Run(name, func(t *testing.T) {
			root := fstest.MapFS{"proc/meminfo": {Data: []byte("MemTotal:        8388608 kB\nMemFree:  12 kB\n")}}
			if test.groups != "" {
				root["proc/self/mountinfo"] = &fstest.MapFile{Data: []byte(test.mounts)}
				root["proc/self/cgroup"] = &fstest.MapFile{Data: []byte(test.groups)}
			}
			for file, text := range test.files {
				root[file] = &fstest.MapFile{Data: []byte(text)}
			}
			if m, ok := findMemory(root); !ok || m.Bytes != test.want || m.Source != test.source {
				t.Errorf("%d of %q, %v; want %d of %q", m.Bytes, m.Source, ok, test.want, test.source)
			}
		})
	}
}

// What the kernel does not say is not made up.
func TestMemoryIsUnknown(t *testing.T) {
	for _, text := range []string{"", "MemTotal:\n", "MemTotal: x kB\n", "MemTotal: 0 kB\n", "MemTotal: 9223372036854775807 kB\n"} {
		if m, ok := findMemory(fstest.MapFS{"proc/meminfo": {Data: []byte(text)}}); ok {
			t.Errorf("%q: %+v", text, m)
		}
	}
	if m, ok := findMemory(fstest.MapFS{}); ok {
		t.Errorf("of nothing: %+v", m)
	}
}

// This machine has some memory.
func TestFindMemoryHere(t *testing.T) {
	if m, ok := FindMemory(); !ok || m.Bytes < 16<<20 {
		t.Errorf("%+v, %v", m, ok)
	}
}
