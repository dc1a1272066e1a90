package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
)

// Kind says why a connection did not come about. There is a code of the ABI
// for each. Zero is no failure.
type Kind uint8

// The kinds.
const (
	Invalid     Kind = iota + 1 // Invalid is a target that makes no sense.
	Denied                      // Denied is a target that the policy, or the system's own rules, do not permit.
	NotFound                    // NotFound is a name without addresses, or a socket that does not exist.
	Refused                     // Refused is an address or a socket where nobody accepts.
	Unreachable                 // Unreachable is an address that the network, or a name that the DNS, does not reach.
	Timeout                     // Timeout is a time that ran out, or a context that was cancelled.
	Quota                       // Quota is too much at once: pending dials, lookups, or descriptors.
)

var kindNames = [...]string{"none", "invalid", "denied", "not found", "refused", "unreachable", "timeout", "quota"}

// String is the kind in lower case, such as "not found".
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "Kind(" + strconv.Itoa(int(k)) + ")"
}

// Error is why a connection did not come about. All errors of this package
// but those of Parse are of this type.
//
// Its text is for the operator. It may name addresses that the DNS gave, which
// are not always for the tenant's eyes; what a guest may know is the kind.
type Error struct {
	Kind   Kind
	Target string // what was asked for, printable and of bounded length
	Err    error  // what went wrong, and the mend; never nil
}

// Error says what was tried, on what, what went wrong, and the mend.
func (e *Error) Error() string { return "connecting to " + e.Target + ": " + e.Err.Error() }

// Unwrap returns what went wrong: errors.Is finds the errno, or the error of
// the context.
func (e *Error) Unwrap() error { return e.Err }

// KindOf tells the kind of an error of this package, also when it is wrapped;
// that of a bare error of the net package or of a context; and zero for nil.
func KindOf(err error) Kind {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return kindOfDNS(e)
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return kindOfErrno(errno)
	}
	if errors.Is(err, errLookups) {
		return Quota
	}
	if isTimeout(err) {
		return Timeout
	}
	return Unreachable
}

func kindOfDNS(e *net.DNSError) Kind {
	switch {
	case e.IsNotFound:
		return NotFound
	case isTimeout(e):
		return Timeout
	}
	return Unreachable
}

func kindOfErrno(errno syscall.Errno) Kind {
	switch errno {
	case syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE,
		syscall.EPROTOTYPE, syscall.ENOTSOCK, // a Unix socket of another kind, or none
		syscall.EAGAIN: // a Unix socket whose queue is full
		return Refused
	case syscall.EACCES, syscall.EPERM, syscall.ELOOP:
		return Denied
	case syscall.ENOENT, syscall.ENOTDIR:
		return NotFound
	case syscall.ETIMEDOUT:
		return Timeout
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM:
		return Quota
	case syscall.EINVAL, syscall.ENAMETOOLONG:
		return Invalid
	}
	return Unreachable
}

func isTimeout(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// cause is the system's word in an error of the net or os package.
func cause(err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Err
	}
	return err
}

func fail(kind Kind, t Target, format string, args ...any) *Error {
	return &Error{Kind: kind, Target: t.String(), Err: fmt.Errorf(format, args...)}
}

// quote makes outside text printable and short.
func quote(s string) string {
	const most = 100
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "..."
	}
	return strconv.QuoteToASCII(s)
}
