package capture

import (
	"cmp"
	"io"
	"net/netip"
	"slices"
)

// flow is two ends, in no order.
type flow struct {
	udp  bool
	a, b netip.AddrPort
}

func flowOf(p *packet) flow {
	f := flow{p.tcp == nil, p.from, p.to}
	if f.b.Compare(f.a) < 0 {
		f.a, f.b = f.b, f.a
	}
	return f
}

// Ports lists who is talked to in a capture, the one with most bytes first. Where a connection's
// begin is not in it, the lower port is taken for the server's. It tells only the first 65,536
// connections. The error is about a file that is no capture.
func Ports(file io.Reader) ([]Port, Skipped, error) {
	in, err := open(file)
	if err != nil {
		return nil, Skipped{}, err
	}
	type server struct {
		udp  bool
		port uint16
	}
	ports := make(map[server]*Port)
	of := make(map[flow]*Port)
	for p := in.read(); p != nil; p = in.read() {
		f := flowOf(p)
		port := of[f]
		if port == nil {
			if len(of) == mostFlows || p.tcp != nil && len(p.payload) == 0 && !p.tcp.SYN {
				continue
			}
			s := server{f.udp, serverPort(p)}
			if port = ports[s]; port == nil {
				port = &Port{Network: "tcp", Number: s.port}
				if f.udp {
					port.Network = "udp"
				}
				ports[s] = port
			}
			port.Connections++
			of[f] = port
		}
		port.Bytes += int64(len(p.payload))
	}
	var all []Port
	for _, p := range ports {
		all = append(all, *p)
	}
	slices.SortFunc(all, func(a, b Port) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Number, b.Number), cmp.Compare(a.Network, b.Network))
	})
	return all, in.skipped, nil
}

// serverPort is the server's port, as far as the first packet of a connection tells it.
func serverPort(p *packet) uint16 {
	switch {
	case p.tcp == nil, p.tcp.SYN && !p.tcp.ACK:
		return p.to.Port()
	case p.tcp.SYN:
		return p.from.Port()
	}
	return min(p.from.Port(), p.to.Port())
}
