// Package wasi is a small WASI preview 1: enough for what compilers put into
// every module, a folder that can be read, and no sockets. Every function of preview 1 can
// be imported, so that whatever a toolchain links is found; those that have
// nothing to act on answer with an error number.
//
// What does something: the clocks, random bytes, the arguments and the
// environment, the descriptors 0 to 2, waiting by poll_oneoff, a [Folder] as
// descriptor 3, sched_yield and proc_exit. Where the bytes of the descriptors go is up to the
// [System].
package wasi

// Module is the name of the import module.
const Module = "wasi_snapshot_preview1"

// Errno is a WASI error number. Zero is success.
type Errno uint32

// The error numbers in use.
const (
	Success     Errno = 0
	Again       Errno = 6  // it would have to wait, and is not to
	Badf        Errno = 8  // no such descriptor, or not for this
	ConnReset   Errno = 15 // the peer broke the connection off
	Exist       Errno = 20 // there is such a file
	Fault       Errno = 21 // a pointer outside memory
	Inval       Errno = 28 // an argument that makes no sense
	IO          Errno = 29 // the connection failed
	IsDir       Errno = 31 // it is a folder
	Loop        Errno = 32 // a link that was not to be followed, or too many
	MFile       Errno = 33 // as many files are open as may be
	NameTooLong Errno = 37 // a path, or what it is to fit into
	NoBufs      Errno = 42 // the tenant's memory is used up
	NoEnt       Errno = 44 // there is no such file
	NoSys       Errno = 52 // not done here
	NotDir      Errno = 54 // it is not a folder
	NotSock     Errno = 57 // not a socket
	Pipe        Errno = 64 // the peer takes nothing any more
	ROFS        Errno = 69 // the folder can only be read
	SeekPipe    Errno = 70 // a stream has no position
	NotCapable  Errno = 76 // not allowed, and never will be
)
