package wasi

import "time"

// System is what a guest's calls act on.
type System interface {
	// Memory is the guest's memory as it is now. The package uses it until the
	// host function it was asked for returns.
	Memory() []byte
	// Enter is called at the start of every function, before anything else. It
	// may unwind the guest by panicking.
	Enter()
	// YieldIfDue is called between the parts of a function's work, and at its end,
	// when the guest has chosen how much it is. It may unwind the guest.
	YieldIfDue()
	// Read puts bytes of descriptor 0 into p, which is not empty and lies in
	// the guest's memory, and returns how many; 0 with Success is the end.
	Read(p []byte) (n int, e Errno)
	// Write takes bytes for descriptor 1 or 2 from the guest's memory, in
	// order, and returns how many it took. Unless it may wait it takes what there is
	// room for now, or answers Again. The slices are the caller's again when it returns; none
	// of them is empty.
	Write(fd int, p [][]byte, wait bool) (n int, e Errno)
	// Close closes descriptor 0, 1 or 2. It is called once for each.
	Close(fd int)
	// Sleep lets d pass; it may return early.
	Sleep(d time.Duration)
	// Poll waits until descriptor 0 can be read, or 1 written, without waiting, whichever of
	// them is wanted, but not for longer than d; below zero that is for ever. It says what
	// can be done, and whether what is to be read is the end.
	Poll(want Ready, d time.Duration) (got Ready, end bool)
	// Yield lets others go first.
	Yield()
	// Wall is the time of day in nanoseconds since 1970-01-01 UTC, and Monotonic a clock that
	// never goes back, by which Sleep and Poll wait.
	Wall() int64
	Monotonic() int64
	// Random fills p, which is in the guest's memory, with random bytes fit for keys.
	Random(p []byte)
}

// Ready is a set of what can be done without waiting.
type Ready byte

// The members of Ready.
const (
	Readable Ready = 1 << iota
	Writable
)

// Process is the state of one guest. System must be set before the first call, and the
// other public fields must not change after it; the rest is the package's. A Process is used by
// one goroutine at a time, as its guest is.
type Process struct {
	System System
	// Args are the arguments, the program's name first, and Env is the environment, each
	// NAME=value. No text may have a zero in it.
	Args, Env []string
	// Folder is what descriptor 3 is. Nil: there is none.
	Folder *Folder

	files  []file   // by descriptor; nil: those that a program starts with
	shared bool     // files is another's, too
	iov    [][]byte // of the call that is running
}

// maxVectors bounds how many buffers one fd_read or fd_write may name, and
// maxSubscriptions what one poll_oneoff may wait for.
const (
	maxVectors       = 1024
	maxSubscriptions = 64
)

// at returns memory[ptr:ptr+n], or nil when that is not all inside. For n = 0
// inside it is empty and not nil.
func at(memory []byte, ptr, n uint32) []byte {
	end := uint64(ptr) + uint64(n)
	if end > uint64(len(memory)) {
		return nil
	}
	return memory[ptr:end:end]
}

// Copy is a guest in the same state, with its own System. The one that is copied makes no call any
// more; it may be copied by many goroutines at once.
func (p *Process) Copy(s System) Process {
	return Process{System: s, Args: p.Args, Env: p.Env, Folder: p.Folder, files: p.files, shared: true}
}
