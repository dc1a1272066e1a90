// Package wasi is a small WASI preview 1: enough for what compilers put into
// every module, and no files and no sockets. Every function of preview 1 can
// be imported, so that whatever a toolchain links is found; those that have
// nothing to act on answer with an error number.
//
// What does something: the clocks, random bytes, the arguments and the
// environment (both empty), the descriptors 0 to 2, sleeping by poll_oneoff,
// sched_yield and proc_exit. Where the bytes of the descriptors go is up to the
// [System].
package wasi

// Module is the name of the import module.
const Module = "wasi_snapshot_preview1"

// Errno is a WASI error number. Zero is success.
type Errno uint32

// The error numbers in use.
const (
	Success    Errno = 0
	Badf       Errno = 8  // no such descriptor, or not for this
	ConnReset  Errno = 15 // the peer broke the connection off
	Fault      Errno = 21 // a pointer outside memory
	Inval      Errno = 28 // an argument that makes no sense
	IO         Errno = 29 // the connection failed
	NoBufs     Errno = 42 // the tenant's memory is used up
	NoSys      Errno = 52 // not done here
	NotSock    Errno = 57 // not a socket
	Pipe       Errno = 64 // the peer takes nothing any more
	SeekPipe   Errno = 70 // a stream has no position
	NotCapable Errno = 76 // not allowed, and never will be
)
