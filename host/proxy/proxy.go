// Package proxy reads and writes the header of the PROXY protocol, versions 1 and 2, with
// which a load balancer says whose connection it passes on.
package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	proxyproto "github.com/pires/go-proxyproto"
)

// Header is what a header says.
type Header struct {
	// Local says that the sender speaks for itself, or does not say for whom: the
	// addresses are the socket's own.
	Local bool
	// Source is whom the connection is from, and Destination where it was made to. Both
	// are valid unless Local is true.
	Source, Destination netip.AddrPort
}

const (
	// mostV1 is the length of the longest header of version 1.
	mostV1 = 107
	// MaxLength is how long a header may be, with what a sender of version 2 may have
	// behind the addresses: the certificate of a client, for one.
	MaxLength = 16 << 10
)

var (
	beginV1 = []byte("PROXY ")
	beginV2 = []byte("\r\n\r\n\x00\r\nQUIT\n")
)

// Parse reads the header that b, all that a peer has sent so far, has to begin with. n is
// how long it is; 0 without an error says that more has to come first, which it does not
// beyond MaxLength. An error says that it is none, as soon as that is certain.
func Parse(b []byte) (h Header, n int, err error) {
	switch {
	case begins(b, beginV2):
		return parseV2(b, false)
	case begins(b, beginV1):
		n, err = lengthV1(b)
	default:
		err = errors.New("it does not begin with a PROXY header")
	}
	if err != nil || n == 0 {
		return Header{}, 0, err
	}
	r := bufio.NewReaderSize(bytes.NewReader(b[:n]), mostV1)
	read, err := proxyproto.Read(r)
	if err != nil {
		return Header{}, 0, fmt.Errorf("its PROXY header is wrong: %s", strings.TrimPrefix(err.Error(), "proxyproto: "))
	}
	if r.Buffered() > 0 {
		return Header{}, 0, errors.New("its PROXY header is wrong: it is shorter than it says")
	}
	return headerOf(read), n, nil
}

// begins reports whether b begins as it should, as far as it goes.
func begins(b, with []byte) bool {
	n := min(len(b), len(with))
	return bytes.Equal(b[:n], with[:n])
}

func lengthV1(b []byte) (int, error) {
	if i := bytes.IndexByte(b[:min(len(b), mostV1)], '\n'); i >= 0 {
		return i + 1, nil
	}
	if len(b) >= mostV1 {
		return 0, fmt.Errorf("its PROXY header has no end within %d bytes", mostV1)
	}
	return 0, nil
}

func headerOf(h *proxyproto.Header) Header {
	from, to, ok := h.TCPAddrs()
	if h.Command == proxyproto.LOCAL || !ok {
		return Header{Local: true}
	}
	out := Header{Source: addrPort(from), Destination: addrPort(to)}
	if !out.Source.IsValid() || !out.Destination.IsValid() {
		return Header{Local: true}
	}
	return out
}

func addrPort(a *net.TCPAddr) netip.AddrPort {
	ip, ok := netip.AddrFromSlice(a.IP)
	if !ok {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(a.Port))
}

// Append appends a header of version 1 or 2. Where one of the addresses is not valid, or
// they are of different families that cannot be made one, it says that the sender speaks
// for itself.
func Append(b []byte, version int, source, destination netip.AddrPort) []byte {
	h := &proxyproto.Header{Version: byte(version), Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}
	if version == 1 {
		h.Command = proxyproto.PROXY // which alone it has
	}
	if source.IsValid() && destination.IsValid() {
		from, to := source.Addr().Unmap(), destination.Addr().Unmap()
		h.Command, h.TransportProtocol = proxyproto.PROXY, proxyproto.TCPv4
		if !from.Is4() || !to.Is4() {
			h.TransportProtocol = proxyproto.TCPv6
		}
		h.SourceAddr = tcpAddr(from, source.Port(), h.TransportProtocol)
		h.DestinationAddr = tcpAddr(to, destination.Port(), h.TransportProtocol)
	}
	text, err := h.Format()
	if err != nil {
		// There is no such header; what begins the two that say nothing is well known.
		if version == 1 {
			return append(b, "PROXY UNKNOWN\r\n"...)
		}
		return append(append(b, beginV2...), 0x20, 0, 0, 0)
	}
	return append(b, text...)
}

func tcpAddr(ip netip.Addr, port uint16, family proxyproto.AddressFamilyAndProtocol) *net.TCPAddr {
	if family == proxyproto.TCPv6 && ip.Is4() {
		ip = netip.AddrFrom16(ip.As16())
	}
	return &net.TCPAddr{IP: ip.WithZone("").AsSlice(), Port: int(port)}
}

// Sources are those whose connections begin with a header. The zero value is nobody.
type Sources struct {
	networks []netip.Prefix
	unix     bool
}

// ParseSources reads a list of addresses ("192.0.2.1"), networks ("10.0.0.0/8") and
// "unix", which is whoever may connect to a unix socket.
func ParseSources(list []string) (Sources, error) {
	var s Sources
	for _, entry := range list {
		if entry == "unix" {
			s.unix = true
			continue
		}
		if ip, err := netip.ParseAddr(entry); err == nil && ip.Zone() == "" {
			ip = ip.Unmap()
			s.networks = append(s.networks, netip.PrefixFrom(ip, ip.BitLen()))
			continue
		}
		network, err := netip.ParsePrefix(entry)
		if err != nil {
			return Sources{}, fmt.Errorf("%q is no address and no network; write one like \"192.0.2.1\", \"10.0.0.0/8\" or \"unix\"", entry)
		}
		if network.Masked() != network {
			return Sources{}, fmt.Errorf("%q has bits set behind its mask; write %q", entry, network.Masked())
		}
		s.networks = append(s.networks, network)
	}
	return s, nil
}

// Empty reports whether they are nobody.
func (s Sources) Empty() bool { return !s.unix && len(s.networks) == 0 }

// Has reports whether a peer is one of them. One that is not valid is on a unix socket.
func (s Sources) Has(peer netip.Addr) bool {
	if !peer.IsValid() {
		return s.unix
	}
	peer = peer.Unmap().WithZone("")
	for _, n := range s.networks {
		if n.Contains(peer) {
			return true
		}
	}
	return false
}
