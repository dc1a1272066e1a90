package proc

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// On calls start with the calling thread kept to the given cores (0 is the
// first), so that a process which start starts is kept to them for its life,
// with all its threads. No cores means all that this process may use. The error
// is start's, or that of a core that is not there.
func On(cores []int, start func() error) error {
	if len(cores) == 0 {
		return start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, wanted unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("asking for this thread's cores: %w", err)
	}
	for _, c := range cores {
		wanted.Set(c)
	}
	if err := unix.SchedSetaffinity(0, &wanted); err != nil {
		return fmt.Errorf("keeping to the cores %v: %w (does this machine have them?)", cores, err)
	}
	defer unix.SchedSetaffinity(0, &before)
	return start()
}

// Cores lists the cores that this process may use, the first first. It fails
// only when the kernel does not say.
func Cores() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("asking for this process's cores: %w", err)
	}
	var cores []int
	for c := 0; len(cores) < set.Count(); c++ {
		if set.IsSet(c) {
			cores = append(cores, c)
		}
	}
	return cores, nil
}
