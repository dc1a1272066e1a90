//go:build !linux

package cputime

// Thread is the time on the clock: this system does not tell the thread's.
func Thread() int64 { return Monotonic() }

func threadID() int { return 0 }
