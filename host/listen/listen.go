// Package listen opens the sockets that a host listens on: TCP, Unix, UDP, and
// those inherited from whoever started the process.
package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"bulkhead/internal/confined"

	"golang.org/x/sys/unix"
)

// Options are what a listening socket is opened with.
type Options struct {
	// Backlog is how many connections the kernel holds that wait to be
	// accepted; it may hold fewer. Zero or less: the kernel's maximum.
	Backlog int
	// Mode and Owner are given to the file of a Unix socket. Owner is
	// "user", "user:group" or ":group", by name or number; "" leaves it.
	Mode  fs.FileMode
	Owner string
	// Keepalive is for how long a connection may be silent before the peer
	// is asked for a sign of life, and between such questions; five without
	// an answer end it. UserTimeout is for how long a peer may answer nothing when
	// something was sent. Whoever uses the connection sees to that; here it bounds the time
	// between two attempts to reach the peer, to a quarter of it, where the kernel can
	// (Linux 6.15). Zero leaves either to the kernel. Accepted connections
	// have them from the listening socket where the kernel hands them down,
	// and from Tune elsewhere. An inherited socket goes without what its kind
	// does not know.
	Keepalive   time.Duration
	UserTimeout time.Duration
	// NotSent is how many bytes the kernel holds of a TCP connection that it has not sent
	// yet before that has no room for more (TCP_NOTSENT_LOWAT, where the system has that).
	// Zero leaves it to the kernel. It is handed down as the others are.
	NotSent int
	// ReceiveBuffer is how many bytes of datagrams the system is asked to hold that have not been
	// read. It may hold less. Zero or less: its default. It means nothing to TCP.
	ReceiveBuffer int
	// SendBuffer is how many bytes the system holds at most of a TCP connection that the peer has
	// not acknowledged, or of a socket's datagrams that have not been sent (SO_SNDBUF; Linux counts
	// its own record of them, too, and doubles the figure for that). It may hold less. Zero or
	// less: its default, which grows for TCP. It is handed down as the others are.
	SendBuffer int
	// Groups are what a UDP listener joins. Of several sockets at an address the first does,
	// since each member is given each datagram.
	Groups Groups
}

// Socket is a listening socket: non-blocking, and closed on exec.
type Socket struct {
	// FD is the descriptor. It is the caller's to close, by Close.
	FD int
	// Addr is where it listens: "ip:port", or the path of a Unix socket.
	Addr string

	unlink unlinkable
	kept   *keptBy // nil: nobody holds a copy
}

// unlinkable is the file of a Unix socket as it was made.
type unlinkable struct {
	path     string
	dev, ino uint64
}

// Open listens. network is tcp, tcp4, tcp6, unix or fd; address is host:port,
// the path of a socket ("@name" for an abstract one), or the number or the
// systemd name of an inherited descriptor.
//
// The file of a Unix socket that is in the way is removed only when nobody
// listens on it.
//
// If the process has a Keeper, it is given a copy; and a socket that a process before this one has
// left there for the same network and address is taken instead of a new one.
func Open(network, address string, o Options) (*Socket, error) {
	open := openTCP
	switch network {
	case "tcp", "tcp4", "tcp6":
	case "unix":
		open = func(_, path string, o Options) (*Socket, error) { return openUnix(path, o) }
	case "fd":
		s, err := inherit(address, o)
		if err == nil {
			keepInherited(s)
		}
		return s, err
	default:
		return nil, fmt.Errorf("listening on %s://%s: there is no such network; use tcp, tcp4, tcp6, unix or fd", network, address)
	}
	change := func(s *Socket, before Options) error { return s.Change(network, before, o) }
	if left := takeLeft(network, address, 1, o, change); left != nil {
		return left[0], nil
	}
	settle()
	s, err := open(network, address, o)
	if err == nil {
		keep(network, address, o, s)
	}
	return s, err
}

// Close closes the socket and removes the file of a Unix socket that Open
// made, if it is still the same one. Connections that were not accepted are
// reset.
func (s *Socket) Close() error {
	if u := s.unlink; u.path != "" {
		if dev, ino, ok := identity(u.path); ok && dev == u.dev && ino == u.ino {
			_ = os.Remove(u.path)
		}
	}
	s.Forget()
	return unix.Close(s.FD)
}

func openTCP(network, address string, o Options) (*Socket, error) {
	// The net package knows names, both stacks and SO_REUSEADDR; the socket
	// is then ours. Multipath TCP would take socket options away from it.
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(context.Background(), network, address)
	if err != nil {
		return nil, fmt.Errorf("listening on %s://%s: %w%s", network, address, cause(err), mend(err))
	}
	defer ln.Close()
	fd, err := take(ln.(*net.TCPListener))
	if err != nil {
		return nil, fmt.Errorf("listening on %s://%s: %w", network, address, err)
	}
	s := &Socket{FD: fd, Addr: ln.Addr().String()}
	if err := errors.Join(s.listen(o.Backlog), tune(s.FD, o)); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("listening on %s://%s: %w", network, address, err)
	}
	return s, nil
}

// listen starts to listen, or sets the backlog of a socket that does.
func (s *Socket) listen(backlog int) error {
	if backlog <= 0 {
		backlog = 1 << 16
	}
	return unix.Listen(s.FD, backlog)
}

// cause is the system's word in an error of the net package.
func cause(err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

func mend(err error) string {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return "; another process listens there, stop it or choose another port"
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return "; this machine has no such address"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		mend := "; ports below 1024 need CAP_NET_BIND_SERVICE or an inherited socket (fd://)"
		if dropped := confined.MendPrivilege(); dropped != "" {
			mend += "; " + dropped
		}
		return mend
	}
	return ""
}

// take gets a descriptor of our own for a socket of the net package's.
func take(ln syscall.Conn) (fd int, err error) {
	raw, err := ln.SyscallConn()
	if err != nil {
		return -1, err
	}
	ctlErr := raw.Control(func(have uintptr) {
		fd, err = unix.FcntlInt(have, unix.F_DUPFD_CLOEXEC, 0)
	})
	return fd, errors.Join(ctlErr, err)
}

func openUnix(path string, o Options) (*Socket, error) {
	fail := func(err error) (*Socket, error) {
		return nil, fmt.Errorf("listening on unix://%s: %w", path, err)
	}
	uid, gid, err := Owner(o.Owner)
	if err != nil {
		return fail(err)
	}
	fd, err := streamSocket(unix.AF_UNIX)
	if err != nil {
		return fail(err)
	}
	abstract := strings.HasPrefix(path, "@")
	if !abstract {
		if err := removeStale(path); err != nil {
			unix.Close(fd)
			return fail(err)
		}
	}
	// Until its mode and owner are set the file is for nobody else.
	umask := unix.Umask(0o177)
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	unix.Umask(umask)
	if err != nil {
		unix.Close(fd)
		return fail(fmt.Errorf("%w%s", err, mendUnix(path, err)))
	}
	s := &Socket{FD: fd, Addr: path}
	if !abstract {
		s.unlink.path = path
		s.unlink.dev, s.unlink.ino, _ = identity(path)
		if o.Owner != "" {
			err = os.Chown(path, uid, gid)
		}
		if err == nil && o.Mode != 0 {
			err = os.Chmod(path, o.Mode)
		}
	}
	if err == nil {
		err = s.listen(o.Backlog)
	}
	if err != nil {
		_ = s.Close()
		return fail(err)
	}
	return s, nil
}

// mendUnix is mend for a path that bind did not take.
func mendUnix(path string, err error) string {
	if mend := confined.Mend(err, filepath.Dir(path), true); mend != "" {
		return "; " + mend
	}
	switch {
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENAMETOOLONG):
		return "; the path of a socket may have about 100 bytes"
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return "; make the folder of the socket first"
	case errors.Is(err, unix.EADDRINUSE):
		return "; another process listens there, stop it or choose another path"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EROFS):
		return "; let the user who runs this process write to the folder of the socket, or choose another path"
	}
	return ""
}

// removeStale removes the file of a socket that nobody listens on. What is
// not a socket, or is listened on, is an error.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("%w%s", cause(err), mendUnix(path, err))
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("there is a file in the way that is not a socket; remove it or choose another path")
	}
	fd, err := streamSocket(unix.AF_UNIX)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// Only a refusal proves that nobody listens; a full queue (EAGAIN) means
	// that somebody does.
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != unix.ECONNREFUSED {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return errors.New("another process listens there; stop it or choose another path")
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("%w%s", cause(err), mendUnix(path, err))
	}
	return nil
}

func identity(path string) (dev, ino uint64, ok bool) {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil {
		return 0, 0, false
	}
	return uint64(st.Dev), uint64(st.Ino), true
}

// Owner gives the numbers of "user", "user:group" or ":group", which may be
// numbers already; -1 leaves one as it is. The error says which one there is not.
func Owner(s string) (uid, gid int, err error) {
	uid, gid = -1, -1
	name, group, _ := strings.Cut(s, ":")
	if name != "" {
		if uid, err = strconv.Atoi(name); err != nil {
			u, err := user.Lookup(name)
			if err != nil {
				return 0, 0, fmt.Errorf("the owner %q: there is no such user; make it, or name another", name)
			}
			uid, _ = strconv.Atoi(u.Uid)
		}
	}
	if group != "" {
		if gid, err = strconv.Atoi(group); err != nil {
			g, err := user.LookupGroup(group)
			if err != nil {
				return 0, 0, fmt.Errorf("the owner's group %q: there is no such group; make it, or name another", group)
			}
			gid, _ = strconv.Atoi(g.Gid)
		}
	}
	return uid, gid, nil
}
