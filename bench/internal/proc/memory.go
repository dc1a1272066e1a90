package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// Memory is what a process holds in RAM, in bytes.
type Memory struct {
	// RSS counts every page that the process has mapped in, and counts a page
	// twice that it has mapped twice.
	RSS int64
	// PSS counts a page once, however often it is mapped, and shares it out
	// among the processes that map it.
	PSS int64
}

// MemoryOf returns what the process pid holds now. It walks the process's page
// tables, which takes milliseconds for a large one. It fails when there is no
// such process, or it belongs to another user.
func MemoryOf(pid int) (Memory, error) {
	name := fmt.Sprintf("/proc/%d/smaps_rollup", pid)
	b, err := os.ReadFile(name)
	if err != nil {
		return Memory{}, fmt.Errorf("reading the memory of process %d: %w (has it ended?)", pid, err)
	}
	var m Memory
	if m.RSS, err = field(b, "Rss:"); err == nil {
		m.PSS, err = field(b, "Pss:")
	}
	if err != nil {
		return Memory{}, fmt.Errorf("%s: %w", name, err)
	}
	return m, nil
}

// field returns the value of the line that begins with key, which the kernel
// gives in kB, in bytes.
func field(b []byte, key string) (int64, error) {
	for line := range bytes.Lines(b) {
		rest, ok := bytes.CutPrefix(line, []byte(key))
		if !ok {
			continue
		}
		f := bytes.Fields(rest)
		if len(f) != 2 || string(f[1]) != "kB" {
			return 0, fmt.Errorf("cannot read %q", bytes.TrimSpace(line))
		}
		kb, err := strconv.ParseUint(string(f[0]), 10, 50)
		if err != nil {
			return 0, fmt.Errorf("%s %w", key, err)
		}
		return int64(kb) << 10, nil
	}
	return 0, fmt.Errorf("no line %q", key)
}
