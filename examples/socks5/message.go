package main

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"bulkhead/sdk/go"
)

// What goes to and fro, as RFC 1928 and RFC 1929 have it.
const (
	version      = 5
	loginVersion = 1

	noAuth       = 0x00
	withPassword = 0x02
	noneOfThem   = 0xff

	connect = 1

	ipv4 = 1
	name = 3
	ipv6 = 4
)

// rep is the answer to a request.
type rep byte

const (
	succeeded rep = iota
	failed
	notAllowed
	networkUnreachable
	hostUnreachable
	refused
	timedOut // "TTL expired" in the RFC
	commandUnknown
	addressUnknown
)

var (
	errVersion = errors.New("this is not SOCKS version 5")
	errEmpty   = errors.New("a count that must not be 0 is")
)

// Each parser reads one message from the start of p and returns its length, which is
// 0 as long as it is not all there.

func parseGreeting(p []byte) (methods []byte, n int, err error) {
	if len(p) > 0 && p[0] != version {
		return nil, 0, errVersion
	}
	if len(p) < 2 {
		return nil, 0, nil
	}
	if p[1] == 0 {
		return nil, 0, errEmpty
	}
	if n = 2 + int(p[1]); len(p) < n {
		return nil, 0, nil
	}
	return p[2:n], n, nil
}

func parseLogin(p []byte) (user, password []byte, n int, err error) {
	if len(p) > 0 && p[0] != loginVersion {
		return nil, nil, 0, errVersion
	}
	user, n = counted(p, 1)
	if n == 0 {
		return nil, nil, 0, nil
	}
	password, n = counted(p, n)
	if n == 0 {
		return nil, nil, 0, nil
	}
	if len(user) == 0 {
		return nil, nil, 0, errEmpty
	}
	return user, password, n, nil
}

// counted is the text at start, behind a byte with its length, and where it ends; 0
// when it is not all there.
func counted(p []byte, start int) (text []byte, end int) {
	if start >= len(p) {
		return nil, 0
	}
	end = start + 1 + int(p[start])
	if end > len(p) {
		return nil, 0
	}
	return p[start+1 : end], end
}

// request is what the client wants.
type request struct {
	command byte
	host    string // a name or an address
	port    uint16
}

// parseRequest answers errVersion, or a rep other than succeeded for an address that
// is none.
func parseRequest(p []byte) (r request, n int, answer rep, err error) {
	if len(p) > 0 && p[0] != version {
		return r, 0, 0, errVersion
	}
	if len(p) < 4 {
		return r, 0, 0, nil
	}
	var address []byte
	switch p[3] {
	case ipv4:
		n = 4 + 4
	case ipv6:
		n = 4 + 16
	case name:
		if address, n = counted(p, 4); n == 0 {
			return r, 0, 0, nil
		}
	default:
		return r, 0, addressUnknown, nil
	}
	if len(p) < n+2 {
		return r, 0, 0, nil
	}
	r.command = p[1]
	r.port = binary.BigEndian.Uint16(p[n:])
	if p[3] == name {
		r.host = string(address)
	} else {
		a, _ := netip.AddrFromSlice(p[4:n])
		r.host = a.String()
	}
	if p[2] != 0 || !validHost(r.host) {
		return r, 0, failed, nil
	}
	return r, n + 2, succeeded, nil
}

// validHost keeps whatever could mean something to Connect out of the host's place: it
// takes names and addresses. Whether they may be dialled is not said here.
func validHost(s string) bool {
	if strings.Contains(s, ":") {
		a, err := netip.ParseAddr(s)
		return err == nil && a.Zone() == ""
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return s != ""
}

// target is the address for Connect.
func (r *request) target() string {
	host := r.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return "tcp://" + host + ":" + strconv.Itoa(int(r.port))
}

// reply is the answer to a request. local is the near end of the connection that was
// made, and may be anything but an address.
func reply(answer rep, local string) []byte {
	b := []byte{version, byte(answer), 0}
	a, err := netip.ParseAddrPort(local)
	switch {
	case err != nil:
		return append(b, ipv4, 0, 0, 0, 0, 0, 0)
	case a.Addr().Is4():
		b = append(b, ipv4)
	default:
		b = append(b, ipv6)
	}
	return binary.BigEndian.AppendUint16(append(b, a.Addr().AsSlice()...), a.Port())
}

// repOf says to the client why there is no connection.
func repOf(err error) rep {
	switch {
	case errors.Is(err, guest.Denied):
		return notAllowed
	case errors.Is(err, guest.NotFound):
		return hostUnreachable
	case errors.Is(err, guest.Refused), errors.Is(err, guest.Reset):
		return refused
	case errors.Is(err, guest.Unreachable):
		return networkUnreachable
	case errors.Is(err, guest.Timeout):
		return timedOut
	}
	return failed
}
