//go:build !linux

package plugins

// threadTime is the clock's time: this system does not tell the thread's.
func threadTime() int64 { return nanotime() }

func yieldThread() {}
