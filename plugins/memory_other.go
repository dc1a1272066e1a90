//go:build !linux

package plugins

// smallPages has nothing to do where the kernel does not enlarge pages unasked.
func smallPages([]byte) {}
