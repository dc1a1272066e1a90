package capture

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// packets are the packets of TCP and UDP in a capture.
type packets struct {
	next    func() ([]byte, gopacket.CaptureInfo, error)
	link    func(gopacket.CaptureInfo) layers.LinkType
	skipped Skipped
}

// packet is one of them, valid until the next is read.
type packet struct {
	at       time.Time
	from, to netip.AddrPort
	tcp      *layers.TCP // nil: it is a datagram of UDP
	payload  []byte
}

// ErrNoCapture is an error about a file that is no capture.
var ErrNoCapture = errors.New("it is neither pcap nor pcapng: take a capture with tcpdump -w FILE, or save it in Wireshark")

// errCut is no io.ErrUnexpectedEOF, since pcapgo takes that for the end between two blocks.
var errCut = errors.New("the file ends in the middle of a block")

// gzipMagic is what a file that was compressed by gzip begins with.
var gzipMagic = []byte{0x1f, 0x8b}

// blocksMagic is what pcapng begins with, whatever the order of its bytes.
var blocksMagic = []byte{0x0a, 0x0d, 0x0d, 0x0a}

func open(file io.Reader) (*packets, error) {
	r := bufio.NewReader(file)
	if magic, _ := r.Peek(len(gzipMagic)); bytes.Equal(magic, gzipMagic) {
		unpacked, err := gzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("it begins as a file of gzip: %w", err)
		}
		r = bufio.NewReader(unpacked)
	}
	if magic, _ := r.Peek(len(blocksMagic)); bytes.Equal(magic, blocksMagic) {
		in, err := pcapgo.NewNgReader(&blocks{in: r}, pcapgo.NgReaderOptions{WantMixedLinkType: true, SkipUnknownVersion: true})
		if err != nil {
			return nil, fmt.Errorf("it begins as pcapng: %w", err)
		}
		link := func(ci gopacket.CaptureInfo) layers.LinkType {
			link, _ := ci.AncillaryData[0].(layers.LinkType)
			return link
		}
		return &packets{next: in.ReadPacketData, link: link}, nil
	}
	in, err := pcapgo.NewReader(r)
	if err != nil {
		return nil, ErrNoCapture
	}
	in.SetSnaplen(mostPacketBytes)
	link := in.LinkType()
	return &packets{next: in.ReadPacketData, link: func(gopacket.CaptureInfo) layers.LinkType { return link }}, nil
}

// transports are what is looked for in a packet.
var transports = gopacket.NewLayerClass([]gopacket.LayerType{layers.LayerTypeTCP, layers.LayerTypeUDP, gopacket.LayerTypeFragment})

// read reads the next packet of TCP or UDP; nil: there are no more. What is behind bytes that
// cannot be read is lost, which skipped says.
func (p *packets) read() *packet {
	for {
		data, ci, err := p.next()
		if err != nil {
			if err != io.EOF {
				p.skipped.Broken = err
			}
			return nil
		}
		// Not lazily: a lazy packet of hostile bytes may never come to its last layer.
		found := gopacket.NewPacket(data, p.link(ci), gopacket.DecodeOptions{NoCopy: true})
		one := &packet{at: ci.Timestamp}
		var from, to uint16
		transport := found.LayerClass(transports)
		switch l := transport.(type) {
		case *layers.TCP:
			one.tcp, one.payload = l, l.Payload
			from, to = uint16(l.SrcPort), uint16(l.DstPort)
		case *layers.UDP:
			one.payload = l.Payload
			from, to = uint16(l.SrcPort), uint16(l.DstPort)
		case *gopacket.Fragment:
			p.skipped.Fragments++
			continue
		default:
			continue
		}
		source, target, ok := addresses(found, transport)
		if !ok {
			continue
		}
		if ci.CaptureLength < ci.Length {
			p.skipped.Truncated++
		}
		one.from, one.to = netip.AddrPortFrom(source, from), netip.AddrPortFrom(target, to)
		return one
	}
}

// addresses are those of the IP packet that the transport is in, which is the last before it where
// one is in another.
func addresses(p gopacket.Packet, transport gopacket.Layer) (from, to netip.Addr, ok bool) {
	network := p.NetworkLayer()
	if network == nil {
		return from, to, false
	}
	if !begins(network, transport) {
		for _, l := range p.Layers() {
			if l == transport {
				break
			}
			if inner, ok := l.(gopacket.NetworkLayer); ok {
				network = inner
			}
		}
	}
	flow := network.NetworkFlow()
	from, okFrom := netip.AddrFromSlice(flow.Src().Raw())
	to, okTo := netip.AddrFromSlice(flow.Dst().Raw())
	return from, to, okFrom && okTo
}

// begins reports whether a layer begins right behind another.
func begins(outer, inner gopacket.Layer) bool {
	a, b := outer.LayerPayload(), inner.LayerContents()
	return len(a) > 0 && len(b) > 0 && &a[0] == &b[0]
}

// blocks passes on those blocks of pcapng that have packets, or say how to read them. Others may be
// long, and pcapgo keeps some of them.
type blocks struct {
	in         *bufio.Reader
	order      binary.ByteOrder
	interfaces int
	left       []byte // of the block under way
}

// Types of blocks.
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacketOld = 2
	blockSimple    = 3
	blockPacket    = 6
)

// mostInterfaces is how many interfaces a file may have.
const mostInterfaces = 4096

// Read is io.Reader's.
func (b *blocks) Read(to []byte) (int, error) {
	for len(b.left) == 0 {
		if err := b.block(); err != nil {
			return 0, err
		}
	}
	n := copy(to, b.left)
	b.left = b.left[n:]
	return n, nil
}

// block reads a block, to left if it is passed on.
func (b *blocks) block() error {
	head, err := b.in.Peek(12)
	if err != nil {
		if len(head) > 0 && err == io.EOF {
			err = errCut
		}
		return err
	}
	if binary.BigEndian.Uint32(head) == blockSection {
		b.order, b.interfaces = binary.LittleEndian, 0
		if binary.BigEndian.Uint32(head[8:]) == 0x1a2b3c4d {
			b.order = binary.BigEndian
		}
	}
	kind, length := b.order.Uint32(head), int64(b.order.Uint32(head[4:]))
	if length < 12 || length%4 != 0 {
		return fmt.Errorf("a block of %d bytes: a block of pcapng has 12 or more, in fours", length)
	}
	switch kind {
	case blockSection, blockInterface, blockPacketOld, blockSimple, blockPacket:
	default:
		_, err := io.CopyN(io.Discard, b.in, length)
		if err == io.EOF {
			err = errCut
		}
		return err
	}
	if kind == blockInterface {
		if b.interfaces++; b.interfaces > mostInterfaces {
			return fmt.Errorf("it has more than %d interfaces", mostInterfaces)
		}
	}
	if length > 2*mostPacketBytes {
		return fmt.Errorf("a block of %d bytes: %d is the most that is read", length, 2*mostPacketBytes)
	}
	whole := make([]byte, length)
	if _, err := io.ReadFull(b.in, whole); err != nil {
		return errCut
	}
	b.left = whole
	return nil
}
