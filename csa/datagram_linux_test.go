package csa

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// What the system says beside a datagram is read without a step outside of it.
func FuzzDatagramControl(f *testing.F) {
	head := func(level, kind, size int) []byte {
		b := make([]byte, unix.CmsgSpace(size))
		if unix.SizeofCmsghdr == 16 {
			binary.NativeEndian.PutUint64(b, uint64(unix.CmsgLen(size)))
			binary.NativeEndian.PutUint32(b[8:], uint32(level))
			binary.NativeEndian.PutUint32(b[12:], uint32(kind))
		}
		for i := range size {
			b[unix.CmsgLen(0)+i] = byte(i + 1)
		}
		return b
	}
	f.Add(head(unix.IPPROTO_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo))
	f.Add(head(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo))
	f.Add(append(head(unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 4), head(unix.IPPROTO_IP, unix.IP_PKTINFO, 12)...))
	f.Add(append(head(unix.IPPROTO_IP, unix.IP_PKTINFO, 12), head(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo)...))
	f.Add([]byte{16})
	f.Fuzz(func(t *testing.T, b []byte) {
		var c control
		n := copy(c.bytes(), b)
		got := parseControl(c.bytes()[:n])
		if !got.counted && got.drops != 0 {
			t.Error("it has a count that it does not have")
		}
		if netip.AddrFrom16(got.local).IsMulticast() {
			t.Errorf("%v is no address to answer from", got.local)
		}
	})
}

func TestDatagramControl(t *testing.T) {
	var c control
	s := &DatagramSocket{six: true}
	var out sender
	p := &datagramPeer{sourced: true, key: peerKey{local: [16]byte{0xfe, 0x80, 15: 1}, ip: [16]byte{0xfe, 0x80, 15: 2}, zone: 1 << 30, port: 4711}}
	out.add(s, p, nil)
	copy(c.bytes(), out.controls[0].bytes())
	if got := parseControl(c.bytes()[:out.messages[0].Controllen]); got != (said{local: p.key.local}) {
		t.Errorf("read %+v", got)
	}
	p.key.local[0], p.key.local[1] = 0xff, 2 // multicast
	out.reset()
	out.add(s, p, nil)
	copy(c.bytes(), out.controls[0].bytes())
	if got := parseControl(c.bytes()[:out.messages[0].Controllen]); got != (said{toMany: true}) {
		t.Errorf("of a group: %+v", got)
	}
	if got := p.key.peer().String(); got != "[fe80::2%1073741824]:4711" {
		t.Errorf("the peer is %s", got)
	}
}

func FuzzDatagramPeer(f *testing.F) {
	f.Add([]byte{unix.AF_INET, 0, 18, 52, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add(append([]byte{unix.AF_INET6, 0, 18, 52, 0, 0, 0, 0, 0xfe, 0x80}, make([]byte, 18)...))
	f.Add([]byte{unix.AF_UNIX, 0, 'x'})
	f.Fuzz(func(t *testing.T, b []byte) {
		var k peerKey
		k.setPeer(b)
		if addr := k.peer(); !addr.IsValid() || addr.Port() != k.port {
			t.Errorf("%v is no address", addr)
		}
	})
}
