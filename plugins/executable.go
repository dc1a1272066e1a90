package plugins

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// CanExecute is nil when this process may run code that it has written to
// memory, as compiled modules are. Otherwise it says what forbids that, and the
// mend.
func CanExecute() error {
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return fmt.Errorf("mapping memory for compiled modules: %w", err)
	}
	defer func() { _ = unix.Munmap(page) }()
	err = unix.Mprotect(page, unix.PROT_READ|unix.PROT_EXEC)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM):
		return fmt.Errorf("this process may not make memory executable (%w), and modules are compiled to machine code; something forbids it: take MemoryDenyWriteExecute= out of the systemd unit, or allow execmem in SELinux", err)
	}
	return fmt.Errorf("making memory executable for compiled modules: %w", err)
}
