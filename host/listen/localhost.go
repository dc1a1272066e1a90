package listen

import (
	"errors"
	"fmt"
	"net"
	"strconv"

	"golang.org/x/sys/unix"
)

// tries is how often a port is looked for that is free in both families.
const tries = 20

// OpenAll is Open for an address that may be several: of tcp://localhost:PORT, 127.0.0.1 and
// ::1, as peers may ask for either. A family that the machine does not have is left out.
// With port 0 both get the same port.
func OpenAll(network, address string, o Options) ([]*Socket, error) {
	return openAll(network, address, func(network, address string) ([]*Socket, error) {
		s, err := Open(network, address, o)
		if err != nil {
			return nil, err
		}
		return []*Socket{s}, nil
	})
}

// OpenAllUDP is OpenUDP for an address that may be several, as in OpenAll: n sockets for
// each.
func OpenAllUDP(network, address string, n int, o Options) ([][]*Socket, error) {
	var all [][]*Socket
	_, err := openAll(network, address, func(network, address string) ([]*Socket, error) {
		s, err := OpenUDP(network, address, n, o)
		if err == nil {
			all = append(all, s)
		} else if len(all) > 0 && !missing(err) {
			all = nil // they have been closed
		}
		return s, err
	})
	return all, err
}

func openAll(network, address string, open func(network, address string) ([]*Socket, error)) ([]*Socket, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host != "localhost" || network != "tcp" && network != "udp" {
		return open(network, address)
	}
	for try := 1; ; try++ {
		four, err := open(network+"4", net.JoinHostPort("127.0.0.1", port))
		if err != nil && !missing(err) {
			return nil, err
		}
		at := port
		if len(four) > 0 {
			_, at, _ = net.SplitHostPort(four[0].Addr)
		}
		six, err := open(network+"6", net.JoinHostPort("::1", at))
		switch {
		case err == nil || missing(err) && len(four) > 0:
			return append(four, six...), nil
		case missing(err):
			return nil, fmt.Errorf("listening on %s://%s: this machine has neither 127.0.0.1 nor ::1", network, address)
		}
		for _, s := range four {
			_ = s.Close()
		}
		if n, _ := strconv.Atoi(port); n != 0 || !errors.Is(err, unix.EADDRINUSE) || try == tries {
			return nil, err
		}
	}
}

// missing reports whether an error is of an address family that the machine does not have.
func missing(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EPROTONOSUPPORT)
}
