package capture

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// morning is when captures of tests begin.
var morning = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// wire is a capture that a test makes.
type wire struct {
	t       testing.TB
	link    layers.LinkType
	vlan    bool
	now     time.Time
	packets [][]byte
	times   []time.Time
}

func newWire(t testing.TB, link layers.LinkType) *wire {
	return &wire{t: t, link: link, now: morning}
}

// pass has time go by.
func (w *wire) pass(d time.Duration) { w.now = w.now.Add(d) }

// put adds a packet of IP with the given transport.
func (w *wire) put(from, to netip.Addr, protocol layers.IPProtocol, transport gopacket.SerializableLayer, payload []byte) {
	w.t.Helper()
	var below []gopacket.SerializableLayer
	kind, family := layers.EthernetTypeIPv4, layers.ProtocolFamilyIPv4
	if from.Is6() {
		kind, family = layers.EthernetTypeIPv6, layers.ProtocolFamilyIPv6Linux
	}
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	switch w.link {
	case layers.LinkTypeEthernet:
		under := kind
		if w.vlan {
			under = layers.EthernetTypeDot1Q
		}
		below = append(below, &layers.Ethernet{SrcMAC: mac, DstMAC: mac, EthernetType: under})
		if w.vlan {
			below = append(below, &layers.Dot1Q{VLANIdentifier: 7, Type: kind})
		}
	case layers.LinkTypeLinuxSLL:
		below = append(below, gopacket.Payload(append([]byte{0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0}, byte(kind>>8), byte(kind))))
	case layers.LinkTypeLinuxSLL2:
		below = append(below, gopacket.Payload([]byte{byte(kind >> 8), byte(kind), 0, 0, 0, 0, 0, 1, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0}))
	case layers.LinkTypeNull:
		below = append(below, &layers.Loopback{Family: family})
	case layers.LinkTypeRaw:
	default:
		w.t.Fatalf("no such link: %v", w.link)
	}
	var network gopacket.NetworkLayer
	if from.Is6() {
		ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: protocol, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
		below, network = append(below, ip), ip
	} else {
		ip := &layers.IPv4{Version: 4, IHL: 5, TTL: 64, Protocol: protocol, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
		below, network = append(below, ip), ip
	}
	switch l := transport.(type) {
	case *layers.TCP:
		_ = l.SetNetworkLayerForChecksum(network)
	case *layers.UDP:
		_ = l.SetNetworkLayerForChecksum(network)
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, append(below, transport, gopacket.Payload(payload))...); err != nil {
		w.t.Fatal(err)
	}
	w.packets = append(w.packets, bytes.Clone(b.Bytes()))
	w.times = append(w.times, w.now)
	w.pass(time.Millisecond)
}

// pcap is the capture as a file.
func (w *wire) pcap() []byte {
	var b bytes.Buffer
	out := pcapgo.NewWriter(&b)
	if err := out.WriteFileHeader(65535, w.link); err != nil {
		w.t.Fatal(err)
	}
	w.write(out.WritePacket)
	return b.Bytes()
}

// pcapng is the same as a file of the newer form.
func (w *wire) pcapng() []byte {
	var b bytes.Buffer
	out, err := pcapgo.NewNgWriter(&b, w.link)
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(out.WritePacket)
	if err := out.Flush(); err != nil {
		w.t.Fatal(err)
	}
	return b.Bytes()
}

func (w *wire) write(write func(gopacket.CaptureInfo, []byte) error) {
	for i, p := range w.packets {
		if err := write(gopacket.CaptureInfo{Timestamp: w.times[i], CaptureLength: len(p), Length: len(p)}, p); err != nil {
			w.t.Fatal(err)
		}
	}
}

// dialogue is a connection of TCP over a wire.
type dialogue struct {
	w              *wire
	client, server netip.AddrPort
	next           [2]uint32 // sequence numbers, the client's and the server's
}

// dial begins a connection with its three packets.
func (w *wire) dial(client, server string) *dialogue {
	d := w.overhear(client, server)
	d.packet(false, &layers.TCP{SYN: true}, nil)
	d.packet(true, &layers.TCP{SYN: true, ACK: true}, nil)
	d.packet(false, &layers.TCP{ACK: true}, nil)
	return d
}

// overhear begins with a connection that is open.
func (w *wire) overhear(client, server string) *dialogue {
	return &dialogue{w: w, client: netip.MustParseAddrPort(client), server: netip.MustParseAddrPort(server), next: [2]uint32{0xfffffff0, 7000}}
}

// packet adds a packet of a side, which comes next.
func (d *dialogue) packet(server bool, tcp *layers.TCP, payload []byte) {
	from, to := d.client, d.server
	if server {
		from, to = to, from
	}
	tcp.SrcPort, tcp.DstPort = layers.TCPPort(from.Port()), layers.TCPPort(to.Port())
	tcp.Seq, tcp.Ack, tcp.Window = d.next[side(server)], d.next[side(!server)], 65535
	d.next[side(server)] += uint32(len(payload))
	if tcp.SYN || tcp.FIN {
		d.next[side(server)]++
	}
	d.w.put(from.Addr(), to.Addr(), layers.IPProtocolTCP, tcp, payload)
}

func (d *dialogue) says(text string) {
	d.packet(false, &layers.TCP{ACK: true, PSH: true}, []byte(text))
}

func (d *dialogue) answers(text string) {
	d.packet(true, &layers.TCP{ACK: true, PSH: true}, []byte(text))
}

func (d *dialogue) finish(server bool) { d.packet(server, &layers.TCP{ACK: true, FIN: true}, nil) }
func (d *dialogue) reset(server bool)  { d.packet(server, &layers.TCP{RST: true, ACK: true}, nil) }

// last takes the last packet from the wire, so that it can be put elsewhere.
func (w *wire) last() []byte {
	n := len(w.packets) - 1
	p := w.packets[n]
	w.packets, w.times = w.packets[:n], w.times[:n]
	return p
}

// again puts a packet on the wire.
func (w *wire) again(p []byte) {
	w.packets, w.times = append(w.packets, p), append(w.times, w.now)
	w.pass(time.Millisecond)
}

// datagram sends one over UDP.
func (w *wire) datagram(from, to, payload string) {
	a, b := netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)
	w.put(a.Addr(), b.Addr(), layers.IPProtocolUDP, &layers.UDP{SrcPort: layers.UDPPort(a.Port()), DstPort: layers.UDPPort(b.Port())}, []byte(payload))
}
