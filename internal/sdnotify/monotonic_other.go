//go:build !linux

package sdnotify

// monotonic is not known where there is no systemd.
func monotonic() int64 { return 0 }
