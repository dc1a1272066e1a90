package admin

import (
	"errors"
	"net"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A socket before which as many wait as it has room for is asked again: a status must not fail
// because others ask as well.
func TestFullSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), SocketName)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	waits, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer waits.Close()
	if c, err := net.Dial("unix", path); !errors.Is(err, unix.EAGAIN) {
		t.Fatalf("the second is not refused for want of room: %v, %v", c, err)
	}
	asked := make(chan error)
	go func() {
		c, err := dialSocket(t.Context(), path)
		if err == nil {
			err = c.Close()
		}
		asked <- err
	}()
	accepted, _, err := unix.Accept(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(accepted)
	if err := <-asked; err != nil {
		t.Errorf("there is room now: %v", err)
	}
}
