package cputime

// Span measures a stretch of work that counts only where it has stayed on one thread. It costs four
// system calls, and is exact where a Stopwatch may be wrong. The zero value has to be started.
type Span struct {
	thread int64
	id     int
}

// Start sets it going from zero.
func (s *Span) Start() { s.id, s.thread = threadID(), Thread() }

// Elapsed is how many nanoseconds of processor time went by since Start. It reports false when the
// work has changed threads, so that nobody knows.
func (s *Span) Elapsed() (ns int64, ok bool) {
	ns = Thread() - s.thread
	return ns, threadID() == s.id
}
