package front

import (
	"bulkhead/host/hello"

	"golang.org/x/sys/unix"
)

// unrecognizedName is the alert of RFC 6066, section 3, that says that nobody here has the name
// that was asked for.
var unrecognizedName = []byte{21, 3, 3, 0, 2, 2, 112}

// sayUnrecognized tells a client of TLS why nobody answers. What it has sent is taken, into
// scratch, since closing would reset the connection otherwise, and the client never read it.
func sayUnrecognized(fd int, scratch []byte) {
	for taken := 0; taken < hello.MaxLength; {
		n, err := take(fd, scratch)
		if err != nil || n == 0 {
			break
		}
		taken += n
	}
	_, _ = unix.Write(fd, unrecognizedName)
	_ = unix.Shutdown(fd, unix.SHUT_WR)
}
