package memory

import "golang.org/x/sys/unix"

// smallPages keeps the kernel from backing the first byte of a memory with a
// huge page of 2 MiB. A kernel without huge pages refuses, which is as well.
func smallPages(b []byte) { _ = unix.Madvise(b, unix.MADV_NOHUGEPAGE) }
