package machine

import (
	"testing"
	"testing/fstest"
)

// Of a process's cgroup and those above it the one that allows the fewest threads counts.
func TestLeastPIDs(t *testing.T) {
	root := fstest.MapFS{
		"proc/self/mountinfo": {Data: []byte("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")},
		"proc/self/cgroup":    {Data: []byte("0::/system.slice/bulkhead.service\n")},
	}
	if n, _, ok := leastPIDs(root); ok {
		t.Errorf("without a limit there are %d", n)
	}
	root["sys/fs/cgroup/system.slice/bulkhead.service/pids.max"] = &fstest.MapFile{Data: []byte("max\n")}
	root["sys/fs/cgroup/system.slice/pids.max"] = &fstest.MapFile{Data: []byte("77\n")}
	if n, where, ok := leastPIDs(root); !ok || n != 77 || where != "/sys/fs/cgroup/system.slice/pids.max" {
		t.Errorf("%d, %q, %v; want 77", n, where, ok)
	}
	root["sys/fs/cgroup/system.slice/bulkhead.service/pids.max"] = &fstest.MapFile{Data: []byte("50\n")}
	if n, _, _ := leastPIDs(root); n != 50 {
		t.Errorf("%d, want 50", n)
	}
}
