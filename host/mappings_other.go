//go:build !linux

package host

// systemMappings does not know: the BSDs bound no process's mappings by their number.
func systemMappings() (limit, already int, ok bool) { return 0, 0, false }
