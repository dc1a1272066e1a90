package listen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// OpenUDP binds n sockets, 1 or more, to one address. All that comes from one peer comes to one of
// them. network is udp, udp4 or udp6, and address host:port. Where the system cannot
// deal datagrams out over sockets, there is one, whatever n says. Of the options, those of
// datagrams hold. Nobody else may have a socket there, also none that would share it.
//
// With the network fd, address is the number or the systemd name of an inherited UDP socket,
// which is the only one. A Keeper is as in Open: a number of sockets that is not n is not taken.
func OpenUDP(network, address string, n int, o Options) ([]*Socket, error) {
	if network == "fd" {
		s, err := inheritUDP(address, o)
		if err != nil {
			return nil, err
		}
		keepInherited(s)
		return []*Socket{s}, nil
	}
	wanted := max(n, 1)
	if !sharesDatagrams {
		wanted = 1
	}
	// A reload may have changed their buffers since they were held.
	change := func(s *Socket, _ Options) error { return ChangeDatagrams(s.FD, Options{}, o) }
	if left := takeLeft(network, address, wanted, o, change); left != nil {
		return left, nil
	}
	settle()
	all, err := openUDP(network, address, n, o)
	if err == nil {
		keep(network, address, o, all...)
	}
	return all, err
}

func openUDP(network, address string, n int, o Options) ([]*Socket, error) {
	var all []*Socket
	fail := func(err error) ([]*Socket, error) {
		for _, s := range all {
			_ = s.Close()
		}
		return nil, fmt.Errorf("listening on %s://%s: %w%s", network, address, cause(err), mend(err))
	}
	if network != "udp" && network != "udp4" && network != "udp6" {
		return fail(errors.New("there is no such network; use udp, udp4, udp6 or fd"))
	}
	// The first is bound without leave to share, so that it finds out whether
	// somebody is there; others may join it from then on.
	first, err := bindUDP(network, address, false, o)
	if err != nil {
		return fail(err)
	}
	all = append(all, first)
	if err := o.Groups.join(first.FD, true); err != nil {
		return fail(err)
	}
	if !sharesDatagrams || n <= 1 {
		return all, nil
	}
	if err := sharePort(first.FD); err != nil {
		return fail(err)
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fail(err)
	}
	_, port, err := net.SplitHostPort(first.Addr)
	if err != nil {
		return fail(err)
	}
	for len(all) < n {
		s, err := bindUDP(network, net.JoinHostPort(host, port), true, o)
		if err != nil {
			return fail(err)
		}
		all = append(all, s)
		if err := o.Groups.join(s.FD, false); err != nil {
			return fail(err)
		}
	}
	return all, nil
}

func bindUDP(network, address string, share bool, o Options) (*Socket, error) {
	var lc net.ListenConfig
	lc.Control = func(_, bound string, raw syscall.RawConn) error {
		var err error
		failed := raw.Control(func(fd uintptr) {
			if at, bad := netip.ParseAddrPort(bound); bad == nil && at.Addr().IsUnspecified() || strings.HasPrefix(bound, ":") {
				sayAddressed(int(fd))
			}
			if share {
				err = sharePort(int(fd))
			}
		})
		return errors.Join(failed, err)
	}
	conn, err := lc.ListenPacket(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	udp := conn.(*net.UDPConn)
	if o.ReceiveBuffer > 0 {
		_ = udp.SetReadBuffer(o.ReceiveBuffer)
	}
	if o.SendBuffer > 0 {
		_ = udp.SetWriteBuffer(o.SendBuffer)
	}
	fd, err := take(udp)
	if err != nil {
		return nil, err
	}
	return &Socket{FD: fd, Addr: conn.LocalAddr().String()}, nil
}

// sharePort lets sockets of this user share an address.
func sharePort(fd int) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
}
