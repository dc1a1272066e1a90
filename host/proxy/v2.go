package proxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
)

// The parts of a header of version 2: what stands before the rest, whose length it says; then
// the addresses, and behind them any number of values, each with its type and its length.
const (
	fixedV2   = 16
	valueHead = 3

	commandLocal = 0
	commandProxy = 1

	typeCRC32C = 3
)

// families are those that a header may name, in one byte with the kind of socket, and how long
// their addresses are. What is not of IP says nothing of use.
var families = map[byte]struct{ addresses, ip int }{
	0x00: {0, 0},
	0x11: {12, 4}, 0x12: {12, 4},
	0x21: {36, 16}, 0x22: {36, 16},
	0x31: {216, 0}, 0x32: {216, 0},
}

const (
	socketBits = 15 // of family and socket
	datagram   = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ParseDatagram reads the header that a datagram begins with; it has to be of version 2, and
// all of it in b. n is how long it is, and more than 0 unless there is an error.
//
// It may be of streams as well as of datagrams: a balancer may have been asked over the one,
// and ask on over the other.
func ParseDatagram(b []byte) (h Header, n int, err error) {
	if len(b) < len(beginV2) || !begins(b, beginV2) {
		return h, 0, errors.New("it does not begin with a PROXY header of version 2")
	}
	if h, n, err = parseV2(b, true); err == nil && n == 0 {
		err = errors.New("its PROXY header is wrong: it is longer than the datagram")
	}
	return h, n, err
}

// parseV2 is Parse for what begins as a header of version 2. The addresses of datagrams mean
// nothing on a stream.
func parseV2(b []byte, datagrams bool) (Header, int, error) {
	wrong := func(format string, args ...any) (Header, int, error) {
		return Header{}, 0, errors.New("its PROXY header is wrong: " + fmt.Sprintf(format, args...))
	}
	if len(b) > 12 && (b[12]>>4 != 2 || b[12]&15 > commandProxy) {
		return wrong("there is no version and command %#02x", b[12])
	}
	if len(b) < fixedV2 {
		return Header{}, 0, nil
	}
	n := fixedV2 + int(binary.BigEndian.Uint16(b[14:]))
	if n > MaxLength {
		return Header{}, 0, fmt.Errorf("its PROXY header has %d bytes, and %d are the most", n, MaxLength)
	}
	local := b[12]&15 == commandLocal
	family, known := families[b[13]]
	fits := known && n >= fixedV2+family.addresses
	switch {
	case local: // a receiver must accept it, whatever its family and its length
	case !known:
		return wrong("there is no family and socket %#02x", b[13])
	case !fits:
		return wrong("it is too short for its addresses")
	}
	if len(b) < n {
		return Header{}, 0, nil
	}
	if !fits {
		return Header{Local: true}, n, nil
	}
	rest := b[fixedV2:n]
	if why := checkValues(b[:n], fixedV2+family.addresses); why != "" && !local {
		return wrong("%s", why)
	}
	if local || family.ip == 0 || b[13]&socketBits == datagram && !datagrams {
		return Header{Local: true}, n, nil
	}
	address := func(at int) netip.Addr {
		ip, _ := netip.AddrFromSlice(rest[at*family.ip:][:family.ip])
		return ip.Unmap()
	}
	port := func(at int) uint16 { return binary.BigEndian.Uint16(rest[2*family.ip+2*at:]) }
	return Header{Source: netip.AddrPortFrom(address(0), port(0)), Destination: netip.AddrPortFrom(address(1), port(1))}, n, nil
}

// checkValues goes over the values of a header, which begin at a place, and verifies the
// checksum where there is one. It says what is wrong.
func checkValues(header []byte, at int) (why string) {
	for at < len(header) {
		if len(header)-at < valueHead {
			return "its last value is cut off"
		}
		kind, begin := header[at], at+valueHead
		length := int(binary.BigEndian.Uint16(header[at+1:]))
		if length > len(header)-begin {
			return "its last value is cut off"
		}
		if kind == typeCRC32C {
			if length != 4 {
				return fmt.Sprintf("its checksum has %d bytes", length)
			}
			// Over the whole header, as if it was 0 itself.
			sum := crc32.Update(0, castagnoli, header[:begin])
			sum = crc32.Update(sum, castagnoli, []byte{0, 0, 0, 0})
			sum = crc32.Update(sum, castagnoli, header[begin+4:])
			if sum != binary.BigEndian.Uint32(header[begin:]) {
				return "its checksum does not match"
			}
		}
		at = begin + length
	}
	return ""
}
