package listen

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// firstInherited is systemd's: descriptors 0 to 2 are taken.
const firstInherited = 3

// taken are the descriptors that inherit has given out, since closing one
// would let its number come again as something else.
var taken sync.Map

// inherited is a socket that another process has made, and that inherit or
// inheritUDP is to take over.
type inherited struct {
	name string
	fd   int
	kind int // unix.SOCK_STREAM, say
}

// find finds an inherited socket by its number, or by its name in LISTEN_FDNAMES. wanted is
// what the error asks for where there is none.
func find(name, wanted string) (i inherited, err error) {
	i.name = name
	if i.fd, err = strconv.Atoi(name); err != nil {
		if i.fd, err = named(name); err != nil {
			return i, fmt.Errorf("listening on fd://%s: %w", name, err)
		}
	}
	if i.fd < firstInherited {
		return i, i.fail("is one of stdin, stdout and stderr", wanted)
	}
	if i.kind, err = unix.GetsockoptInt(i.fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
		return i, i.fail("is not a socket", wanted)
	}
	return i, nil
}

const (
	wantedStream = "a listening stream socket or a bound UDP socket"
	wantedUDP    = "a UDP socket that is bound to an address"
)

func (i inherited) fail(what, wanted string) error {
	return fmt.Errorf("listening on fd://%s: descriptor %d %s; start this process with %s there", i.name, i.fd, what, wanted)
}

// take gives the descriptor to one listener. An error leaves it as it was, unless it
// cannot be used at all.
func (i inherited) take(wanted string) error {
	if _, twice := taken.LoadOrStore(i.fd, true); twice {
		return i.fail("is given to two listeners", wanted)
	}
	unix.CloseOnExec(i.fd)
	if err := unix.SetNonblock(i.fd, true); err != nil {
		return i.fail("cannot be made non-blocking", wanted)
	}
	return nil
}

// InheritsDatagrams reports whether fd://name is a datagram socket, which OpenUDP takes, and
// not Open. It changes nothing. The error says that there is no such socket.
func InheritsDatagrams(name string) (bool, error) {
	i, err := find(name, wantedStream)
	return err == nil && i.kind == unix.SOCK_DGRAM, err
}

// inherit takes a listening socket over from the process that started this
// one.
func inherit(name string, o Options) (*Socket, error) {
	i, err := find(name, wantedStream)
	if err != nil {
		return nil, err
	}
	if i.kind != unix.SOCK_STREAM {
		return nil, i.fail("is not a stream socket", wantedStream)
	}
	fd := i.fd
	if listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && listening == 0 {
		return nil, i.fail("is a socket that does not listen", wantedStream)
	}
	if err := i.take(wantedStream); err != nil {
		return nil, err
	}
	// Connections inherit this, and closing one would then wait for its peer, O_NONBLOCK or not.
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{})
	s := &Socket{FD: fd, Addr: "fd " + name}
	if sa, err := unix.Getsockname(fd); err == nil {
		switch a := sa.(type) {
		case *unix.SockaddrUnix:
			s.Addr = a.Name
		case *unix.SockaddrInet4:
			s.Addr = net.JoinHostPort(net.IP(a.Addr[:]).String(), strconv.Itoa(a.Port))
			_ = tune(fd, o)
		case *unix.SockaddrInet6:
			s.Addr = net.JoinHostPort(net.IP(a.Addr[:]).String(), strconv.Itoa(a.Port))
			_ = tune(fd, o)
		}
	}
	return s, nil
}

// inheritUDP takes a UDP socket over from the process that started this one. It is bound,
// and the only one at its address, whatever the number of loops is; what can be set later is.
func inheritUDP(name string, o Options) (*Socket, error) {
	i, err := find(name, wantedUDP)
	if err != nil {
		return nil, err
	}
	fail := func(what string) (*Socket, error) { return nil, i.fail(what, wantedUDP) }
	if i.kind != unix.SOCK_DGRAM {
		return fail("is not a datagram socket")
	}
	sa, err := unix.Getsockname(i.fd)
	if err != nil {
		return fail("has no address")
	}
	var at netip.AddrPort
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		at = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		ip := netip.AddrFrom16(a.Addr)
		if a.ZoneId != 0 {
			ip = ip.WithZone(zoneName(a.ZoneId))
		}
		at = netip.AddrPortFrom(ip, uint16(a.Port))
	default:
		return fail("is a datagram socket, but not of IPv4 or IPv6")
	}
	if !udpProtocol(i.fd) {
		return fail("is a datagram socket, but not of UDP")
	}
	if at.Port() == 0 {
		return fail("is a UDP socket that is not bound to a port")
	}
	if _, err := unix.Getpeername(i.fd); err == nil {
		return fail("is a UDP socket that is connected, and so hears one peer alone")
	}
	if why := o.Groups.unheard(i.fd, at.Addr()); why != "" {
		return fail(why)
	}
	if err := i.take(wantedUDP); err != nil {
		return nil, err
	}
	if at.Addr().IsUnspecified() {
		sayAddressed(i.fd)
	}
	// Whoever made it may have given it more, which only root can.
	raiseBuffer(i.fd, unix.SO_RCVBUF, o.ReceiveBuffer)
	raiseBuffer(i.fd, unix.SO_SNDBUF, o.SendBuffer)
	if err := o.Groups.join(i.fd, true); err != nil {
		return nil, fmt.Errorf("listening on fd://%s: %w", name, err)
	}
	return &Socket{FD: i.fd, Addr: at.String()}, nil
}

// zoneName is how the zone of an interface is written.
func zoneName(index uint32) string {
	if i, err := net.InterfaceByIndex(int(index)); err == nil {
		return i.Name
	}
	return strconv.FormatUint(uint64(index), 10)
}

// raiseBuffer asks for a buffer of so many bytes, unless the socket has one of as many.
func raiseBuffer(fd, option, size int) {
	if size <= 0 {
		return
	}
	if have, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, option); err == nil && have/bufferFactor >= size {
		return
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, size)
}

// unheard says why a socket that is bound to an address cannot hear the groups, or "". Only
// who binds it can change that.
func (g Groups) unheard(fd int, at netip.Addr) string {
	if len(g.Addresses) == 0 {
		return ""
	}
	if !at.IsUnspecified() {
		return fmt.Sprintf("is bound to %s, where nothing comes that is sent to a group", at)
	}
	only6 := false
	if at.Is6() {
		v, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
		only6 = err == nil && v != 0
	}
	for _, a := range append(append([]netip.Addr(nil), g.Addresses...), g.Sources...) {
		if a.Is6() && at.Is4() || a.Is4() && only6 {
			return fmt.Sprintf("is bound to %s, and hears nothing of %s, which is of the other family", at, a)
		}
	}
	return ""
}

// named finds a descriptor by the protocol of sd_listen_fds.
func named(name string) (int, error) {
	if pid, err := strconv.Atoi(os.Getenv("LISTEN_PID")); err != nil || pid != os.Getpid() {
		return 0, errors.New("no descriptors were passed to this process (LISTEN_PID is not its number); start it from a systemd socket unit")
	}
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || n < 1 {
		return 0, errors.New("LISTEN_FDS says that no descriptors were passed")
	}
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for i, have := range names {
		if i < n && have == name {
			return firstInherited + i, nil
		}
	}
	return 0, fmt.Errorf("none of the %d descriptors passed has that name; LISTEN_FDNAMES has %q", n, names)
}
