package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// socket is a Unix socket that listens.
type socket struct {
	*net.UnixListener
	path  string
	inode os.FileInfo // of its file, which Close removes if it is that one yet
}

// makeSocket makes one whose file has a mode, and a group unless that is -1. Nobody can connect
// before they are set: it listens last. What a daemon that has died has left in its place is
// replaced: who lives holds the lock of the folder.
func makeSocket(path string, mode fs.FileMode, group int) (*socket, error) {
	s, err := bindSocket(path, mode, group)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	return s, nil
}

func bindSocket(path string, mode fs.FileMode, group int) (*socket, error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != os.ModeSocket {
			return nil, errors.New("there is something in its place that is no socket; move that away")
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	address, done, err := reach(path)
	if err != nil {
		return nil, err
	}
	defer done()
	syscall.ForkLock.RLock() // no child gets it
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close() // the listener has a copy
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: address}); err != nil {
		return nil, err
	}
	s := &socket{path: path}
	if s.inode, err = os.Lstat(path); err != nil {
		return nil, err
	}
	if err := s.give(mode, group); err != nil {
		s.remove()
		return nil, err
	}
	if err := unix.Listen(fd, 64); err != nil {
		s.remove()
		return nil, err
	}
	l, err := net.FileListener(f)
	if err != nil {
		s.remove()
		return nil, err
	}
	s.UnixListener = l.(*net.UnixListener)
	s.SetUnlinkOnClose(false) // Close does
	return s, nil
}

// give sets whose the file is. In between it is its owner's alone.
func (s *socket) give(mode fs.FileMode, group int) error {
	if err := os.Chmod(s.path, mode&0o600); err != nil {
		return err
	}
	if group >= 0 {
		if err := os.Lchown(s.path, -1, group); err != nil {
			return err
		}
	}
	return os.Chmod(s.path, mode)
}

// Close ends the listening, and removes the file.
func (s *socket) Close() error {
	s.remove()
	return s.UnixListener.Close()
}

func (s *socket) remove() {
	if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.inode) {
		_ = os.Remove(s.path)
	}
}
