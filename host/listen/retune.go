package listen

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Retune gives a TCP connection, or a socket that listens for TCP, other options while it is open:
// Keepalive, UserTimeout, NotSent and SendBuffer, where they differ from before. A SendBuffer that
// was set cannot be left to the kernel again, and stays then. Some may be set when there is an
// error.
func Retune(fd int, before, now Options) error {
	if before.Keepalive == now.Keepalive && before.UserTimeout == now.UserTimeout && before.NotSent == now.NotSent && before.SendBuffer == now.SendBuffer {
		return nil
	}
	if before.Keepalive >= time.Second && now.Keepalive < time.Second {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0); err != nil {
			return err
		}
	}
	if err := leaveToSystem(fd, before, now); err != nil {
		return err
	}
	return tune(fd, now)
}

// Change gives the open socket other options, where they differ from before; address is the one
// that it was opened with. Groups cannot be changed. Some may be changed when there is an error.
func (s *Socket) Change(network string, before, now Options) error {
	err := s.change(network, before, now)
	if err == nil && s.kept != nil && network != "fd" {
		s.kept.hold(now, -1)
	}
	return err
}

func (s *Socket) change(network string, before, now Options) error {
	if now.Backlog != before.Backlog {
		if err := s.listen(now.Backlog); err != nil {
			return fmt.Errorf("backlog: %w", err)
		}
	}
	if network != "unix" {
		if err := Retune(s.FD, before, now); err != nil && (network != "fd" || !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOPROTOOPT)) {
			return err
		}
	}
	if s.unlink.path == "" || now.Mode == before.Mode && now.Owner == before.Owner {
		return nil
	}
	return s.changeFile(before, now)
}

// changeFile gives the file of a Unix socket its mode and owner.
func (s *Socket) changeFile(before, now Options) error {
	path := s.unlink.path
	if dev, ino, ok := identity(path); !ok || dev != s.unlink.dev || ino != s.unlink.ino {
		return fmt.Errorf("the socket's file %s is not there any more, or is another one", path)
	}
	if now.Owner != before.Owner {
		uid, gid := os.Geteuid(), os.Getegid()
		if now.Owner != "" {
			var err error
			if uid, gid, err = Owner(now.Owner); err != nil {
				return err
			}
		}
		if err := os.Chown(path, uid, gid); err != nil {
			return fmt.Errorf("owner: %w; run as root, or as a member of the group", err)
		}
	}
	mode := now.Mode
	if mode == 0 {
		mode = 0o600
	}
	if err := os.Chmod(path, mode); err != nil {
		return fmt.Errorf("mode: %w", err)
	}
	return nil
}

// ChangeDatagrams gives an open socket of UDP other buffers, where they differ from before. One
// that was set cannot be left to the system again, and stays then.
func ChangeDatagrams(fd int, before, now Options) error {
	for _, b := range []struct {
		key         string
		option      int
		before, now int
	}{
		{"receive_buffer", unix.SO_RCVBUF, before.ReceiveBuffer, now.ReceiveBuffer},
		{"send_buffer", unix.SO_SNDBUF, before.SendBuffer, now.SendBuffer},
	} {
		if b.now != b.before && b.now > 0 {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, b.option, b.now); err != nil {
				return fmt.Errorf("%s: %w", b.key, err)
			}
		}
	}
	return nil
}
