// Package machine says what the machine, or the part of it that a process is given, has.
package machine

// Memory is how much memory there is.
type Memory struct {
	Bytes int64
	// Source is what says so, as an operator would look for it: the path of a cgroup's file,
	// or the system's name of the machine's memory.
	Source string
}
