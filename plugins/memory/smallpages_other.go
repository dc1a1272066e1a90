//go:build !linux

package memory

// smallPages has nothing to do where the kernel does not enlarge pages unasked.
func smallPages([]byte) {}
