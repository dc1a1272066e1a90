package csa

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// message is struct mmsghdr.
type message struct {
	unix.Msghdr
	n uint32
}

// controlSpace is room for in6_pktinfo, in_pktinfo, and the count of SO_RXQ_OVFL.
const controlSpace = 96

// control is aligned as the headers in it have to be.
type control [controlSpace / 8]uint64

func (c *control) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&c[0])), controlSpace)
}

// receiver reads datagrams, many by one system call.
type receiver struct {
	messages [datagramBatch]message
	vectors  [datagramBatch]unix.Iovec
	names    [datagramBatch]unix.RawSockaddrInet6
	controls [datagramBatch]control
	buffer   []byte // touched as far as datagrams are long
}

func (r *receiver) init() {
	r.buffer = make([]byte, datagramBatch*longestDatagram)
	for i := range r.messages {
		r.vectors[i].Base = &r.buffer[i*longestDatagram]
		r.vectors[i].SetLen(longestDatagram)
		m := &r.messages[i]
		m.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		m.Iov = &r.vectors[i]
		m.SetIovlen(1)
		m.Control = (*byte)(unsafe.Pointer(&r.controls[i]))
	}
}

// receive reads what there is, up to datagramBatch datagrams, and says how many came. It
// answers errWouldBlock when none is there.
func (r *receiver) receive(fd int) (n int, err error) {
	for i := range r.messages {
		m := &r.messages[i]
		m.Namelen = unix.SizeofSockaddrInet6
		m.SetControllen(controlSpace)
	}
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&r.messages[0])), datagramBatch, unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, errWouldBlock
		default:
			return 0, errno
		}
	}
}

// size is how long datagram i is.
func (r *receiver) size(i int) int { return int(r.messages[i].n) }

// incoming is a datagram that has come. Its payload is good until the next receive.
type incoming struct {
	key     peerKey
	payload []byte
	drops   uint32 // how many the system has dropped ever
	counted bool   // drops is known
	toMany  bool   // it was sent to a group, or broadcast
}

// at is datagram i; with local, its key has the address that it was sent to.
func (r *receiver) at(i int, local bool) (m incoming) {
	from := &r.messages[i]
	name := unsafe.Slice((*byte)(unsafe.Pointer(&r.names[i])), unix.SizeofSockaddrInet6)
	m.key.setPeer(name[:min(from.Namelen, unix.SizeofSockaddrInet6)])
	c := parseControl(r.controls[i].bytes()[:min(int(from.Controllen), controlSpace)])
	if local {
		m.key.local = c.local
	}
	m.drops, m.counted, m.toMany = c.drops, c.counted, c.toMany
	m.payload = r.buffer[i*longestDatagram:][:min(int(from.n), longestDatagram)]
	return m
}

// setPeer takes the peer from a sockaddr; its port is 0 if that is none of the internet's.
func (k *peerKey) setPeer(name []byte) {
	if len(name) < unix.SizeofSockaddrInet4 {
		return
	}
	port := binary.BigEndian.Uint16(name[2:])
	switch binary.NativeEndian.Uint16(name) {
	case unix.AF_INET:
		k.setIP4(&k.ip, [4]byte(name[4:8]))
		k.port = port
	case unix.AF_INET6:
		if len(name) < unix.SizeofSockaddrInet6 {
			return
		}
		copy(k.ip[:], name[8:24])
		k.zone = binary.NativeEndian.Uint32(name[24:])
		k.port = port
	}
}

// said is what the system says beside a datagram.
type said struct {
	local   [16]byte // the machine's address that an answer can be sent from; zero if it is not known
	drops   uint32   // how many datagrams the socket has dropped ever
	counted bool     // drops is known
	toMany  bool     // it was sent to a group, or broadcast
}

// parseControl reads what the system says beside a datagram.
func parseControl(b []byte) (c said) {
	head := unix.CmsgLen(0)
	four := false // the address of IPv4 says more than the same one in its IPv6 form
	for len(b) >= head {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		if uint64(h.Len) < uint64(head) || uint64(h.Len) > uint64(len(b)) {
			return
		}
		data := b[head:h.Len]
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			// ipi_spec_dst: an address of this machine also when ipi_addr is a broadcast's.
			// It is zero for a datagram that came before the option was set.
			if ip := [4]byte(data[4:8]); ip != [4]byte{} {
				(*peerKey)(nil).setIP4(&c.local, ip)
				four = true
				c.toMany = ip != [4]byte(data[8:12])
			}
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo && !four:
			copy(c.local[:], data[:16])
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SO_RXQ_OVFL && len(data) >= 4:
			c.drops, c.counted = binary.NativeEndian.Uint32(data), true
		}
		if netip.AddrFrom16(c.local).Unmap().IsMulticast() {
			c.local = [16]byte{}
			c.toMany = true
		}
		next := unix.CmsgSpace(len(data))
		if next >= len(b) {
			return
		}
		b = b[next:]
	}
	return
}

// sender sends datagrams, many by one system call.
type sender struct {
	messages [datagramBatch]message
	vectors  [datagramBatch]unix.Iovec
	names    [datagramBatch]unix.RawSockaddrInet6
	controls [datagramBatch]control
	peers    [datagramBatch]*datagramPeer
	n        int
}

func (b *sender) reset() { b.n = 0 }

// forget keeps no peer and no memory of others.
func (b *sender) forget() {
	for i := range b.n {
		b.peers[i] = nil
		b.vectors[i].Base = nil
	}
	b.n = 0
}

// noBytes is where an empty datagram is.
var noBytes [1]byte

// add puts a datagram to p behind the others. It is not copied.
func (b *sender) add(s *DatagramSocket, p *datagramPeer, payload []byte) {
	i := b.n
	b.n++
	b.peers[i] = p
	v := &b.vectors[i]
	v.Base = &noBytes[0]
	if len(payload) > 0 {
		v.Base = &payload[0]
	}
	v.SetLen(len(payload))
	m := &b.messages[i]
	m.Iov = v
	m.SetIovlen(1)
	if s.dialled != nil { // the socket is connected
		m.Name, m.Namelen, m.Control = nil, 0, nil
		m.SetControllen(0)
		return
	}
	m.Name = (*byte)(unsafe.Pointer(&b.names[i]))
	name := unsafe.Slice(m.Name, unix.SizeofSockaddrInet6)
	clear(name)
	binary.BigEndian.PutUint16(name[2:], p.key.port)
	if s.six {
		binary.NativeEndian.PutUint16(name, unix.AF_INET6)
		copy(name[8:], p.key.ip[:])
		binary.NativeEndian.PutUint32(name[24:], p.key.zone)
		m.Namelen = unix.SizeofSockaddrInet6
	} else {
		binary.NativeEndian.PutUint16(name, unix.AF_INET)
		copy(name[4:], p.key.ip[12:])
		m.Namelen = unix.SizeofSockaddrInet4
	}
	if !p.sourced {
		m.Control = nil
		m.SetControllen(0)
		return
	}
	c := b.controls[i].bytes()
	m.Control = &c[0]
	h := (*unix.Cmsghdr)(unsafe.Pointer(&c[0]))
	data := c[unix.CmsgLen(0):]
	if s.six {
		h.Level, h.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
		h.SetLen(unix.CmsgLen(unix.SizeofInet6Pktinfo))
		copy(data, p.key.local[:])
		binary.NativeEndian.PutUint32(data[16:], p.key.zone)
		m.SetControllen(unix.CmsgSpace(unix.SizeofInet6Pktinfo))
	} else {
		h.Level, h.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
		h.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
		clear(data[:unix.SizeofInet4Pktinfo])
		copy(data[4:], p.key.local[12:]) // ipi_spec_dst
		m.SetControllen(unix.CmsgSpace(unix.SizeofInet4Pktinfo))
	}
}

// send sends what was added, and says how many of them went, in order. With less than all
// comes the error of the next, or none, when it is to be tried again.
func (b *sender) send(fd int) (n int, err error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.messages[0])), uintptr(b.n), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, errWouldBlock
		default:
			return 0, errno
		}
	}
}

// prepareDatagrams has the system say what goes with a datagram.
func prepareDatagrams(s *DatagramSocket) {
	_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1)
	sayAddressed(s)
}

// sayAddressed has the system say what a datagram was addressed to, where that is not known.
func sayAddressed(s *DatagramSocket) {
	if !s.wildcard && !s.ownOnly {
		return
	}
	if s.six {
		_ = unix.SetsockoptInt(s.fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	}
	// Also of IPv6, which may be of both: what is broadcast over IPv4 is answered from
	// an address of this machine, which only this option says.
	_ = unix.SetsockoptInt(s.fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
}
