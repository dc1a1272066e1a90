package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
)

func TestKinds(t *testing.T) {
	for want, errs := range map[Kind][]error{
		0:           {nil},
		Refused:     {syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPROTOTYPE, syscall.EAGAIN},
		Denied:      {syscall.EACCES, syscall.EPERM, syscall.ELOOP, &Error{Kind: Denied, Err: syscall.ECONNREFUSED}},
		NotFound:    {syscall.ENOENT, syscall.ENOTDIR, &net.DNSError{IsNotFound: true}},
		Timeout:     {syscall.ETIMEDOUT, context.DeadlineExceeded, context.Canceled, os.ErrDeadlineExceeded, &net.DNSError{IsTimeout: true}},
		Quota:       {syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, errLookups},
		Invalid:     {syscall.EINVAL, syscall.ENAMETOOLONG},
		Unreachable: {syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT, syscall.ENETDOWN, &net.DNSError{Err: "server misbehaving"}, errors.New("odd")},
	} {
		for _, err := range errs {
			if got := KindOf(err); got != want {
				t.Errorf("%v is %v, want %v", err, got, want)
			}
			if err == nil {
				continue
			}
			wrapped := fmt.Errorf("more: %w", &net.OpError{Op: "dial", Net: "tcp", Err: err})
			if got := KindOf(wrapped); got != want {
				t.Errorf("%v, wrapped, is %v, want %v", err, got, want)
			}
		}
	}
	if Refused.String() != "refused" || NotFound.String() != "not found" || Kind(99).String() != "Kind(99)" {
		t.Errorf("%v, %v, %v", Refused, NotFound, Kind(99))
	}
}
