package capture

import (
	"bytes"
	"encoding/binary"
	"io"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/reassembly"
)

const (
	// patience is for how long, by the capture's clock, bytes that are missing may come yet.
	patience = 2 * time.Second
	// flushEach is after how many packets those are looked for at the earliest.
	flushEach = 256
)

// Read reads what was said to and by the server of a port over TCP. The error is about a file that
// is no capture.
func Read(file io.Reader, port uint16) (*Traffic, error) {
	in, err := open(file)
	if err != nil {
		return nil, err
	}
	r := &reader{traffic: &Traffic{Port: port}, streams: make(map[flow]*stream)}
	r.tcp = reassembly.NewAssembler(reassembly.NewStreamPool(r))
	r.tcp.MaxBufferedPagesTotal, r.tcp.MaxBufferedPagesPerConnection = mostPages, mostPagesOfOne
	for p := in.read(); p != nil; p = in.read() {
		if p.from.Port() == port || p.to.Port() == port {
			r.take(p)
		}
	}
	r.tcp.FlushAll()
	r.traffic.Skipped = in.skipped
	r.traffic.Connections = withSubstance(r.all)
	return r.traffic, nil
}

// withSubstance are the connections that have come about.
func withSubstance(all []*stream) (some []*Connection) {
	for _, s := range all {
		if s.answered || len(s.Parts) > 0 && (s.Parts[0].Bytes != nil || len(s.Parts) > 1) {
			some = append(some, &s.Connection)
		}
	}
	return some
}

// reader puts streams together. It is the factory of reassembly's streams.
type reader struct {
	traffic *Traffic
	tcp     *reassembly.Assembler
	all     []*stream
	streams map[flow]*stream // the latest of each flow
	kept    int
	packets int       // since the last flush
	flushed time.Time // when that was
	feeding *stream   // whose packet is taken
}

// stream is a connection under way.
type stream struct {
	Connection
	r        *reader
	id       uint64
	answered bool   // the server has accepted it
	over     bool   // what follows is of another, or of none
	isn      uint32 // of the client, where begun
	begun    bool   // the client's first packet is in the capture
	ended    [2]bool
}

// side is the index of the client's or the server's side.
func side(server bool) int {
	if server {
		return 1
	}
	return 0
}

// take takes a packet of the port.
func (r *reader) take(p *packet) {
	if p.tcp == nil {
		r.traffic.Datagrams++
		return
	}
	f := flowOf(p)
	s := r.streams[f]
	if s == nil || s.beginsAnew(p) {
		if s = r.begin(f, p); s == nil {
			return
		}
	}
	server := p.from == s.Server
	if s.over {
		return
	}
	r.feeding = s
	r.tcp.AssembleWithContext(s.network(server), p.tcp, &context{at: p.at, server: server, reset: p.tcp.RST})
	r.flush(p.at)
}

// flush goes on without bytes that have not come for a while.
func (r *reader) flush(now time.Time) {
	if r.packets++; r.packets < flushEach || now.Sub(r.flushed) < patience/2 {
		return
	}
	r.packets, r.flushed = 0, now
	r.tcp.FlushWithOptions(reassembly.FlushOptions{T: now.Add(-patience)})
}

// begin begins a connection with the first packet of it; nil: there are enough.
func (r *reader) begin(f flow, p *packet) *stream {
	if p.tcp.RST || p.tcp.FIN && len(p.payload) == 0 {
		return nil // the end of one that is not in the capture
	}
	if len(r.all) == mostConnections {
		r.traffic.Cut = true
		return nil
	}
	s := &stream{r: r, id: uint64(len(r.all)), Connection: Connection{Client: p.from, Server: p.to, Began: p.at}}
	port := r.traffic.Port
	fromServer := p.from.Port() == port && p.to.Port() != port
	if p.tcp.SYN {
		fromServer = p.tcp.ACK
	}
	if fromServer {
		s.Client, s.Server = s.Server, s.Client
	}
	if p.tcp.SYN && !p.tcp.ACK {
		s.begun, s.isn = true, p.tcp.Seq
	}
	r.all = append(r.all, s)
	r.streams[f] = s
	return s
}

// beginsAnew reports whether a packet is the first of another connection between the same ends.
func (s *stream) beginsAnew(p *packet) bool {
	if !p.tcp.SYN || p.tcp.ACK {
		return false
	}
	if !s.begun {
		return len(s.Parts) > 0 // else it has only come late
	}
	return s.isn != p.tcp.Seq
}

// network is what reassembly takes for addresses. It has the connection's number, since the same
// ends may connect once more.
func (s *stream) network(server bool) gopacket.Flow {
	var ends [2][9]byte
	for i := range ends {
		binary.BigEndian.PutUint64(ends[i][:], s.id)
		ends[i][8] = byte(i)
	}
	from := side(server)
	return gopacket.NewFlow(endpointID, ends[from][:], ends[1-from][:])
}

// endpointID is the type of such addresses.
var endpointID = gopacket.RegisterEndpointType(1700, gopacket.EndpointTypeMetadata{Name: "Bulkhead"})

// context is what is known of a packet.
type context struct {
	at            time.Time
	server, reset bool
}

// GetCaptureInfo is reassembly.AssemblerContext's.
func (c *context) GetCaptureInfo() gopacket.CaptureInfo {
	return gopacket.CaptureInfo{Timestamp: c.at}
}

// New is reassembly.StreamFactory's.
func (r *reader) New(_, _ gopacket.Flow, _ *layers.TCP, _ reassembly.AssemblerContext) reassembly.Stream {
	return r.feeding
}

// Accept is reassembly.Stream's: it looks at each packet first.
func (s *stream) Accept(tcp *layers.TCP, _ gopacket.CaptureInfo, _ reassembly.TCPFlowDirection, next reassembly.Sequence, start *bool, ac reassembly.AssemblerContext) bool {
	c := ac.(*context)
	if tcp.SYN && tcp.ACK {
		s.answered = true
	}
	if s.over {
		return false
	}
	if tcp.RST && s.ended[side(c.server)] {
		s.end(c, Reset) // behind its end
		return false
	}
	if s.ended[side(c.server)] {
		return false // once more
	}
	if next < 0 { // its begin is not in the capture
		*start = true
	}
	return true
}

// ReassembledSG is reassembly.Stream's: it takes bytes in their order.
func (s *stream) ReassembledSG(sg reassembly.ScatterGather, ac reassembly.AssemblerContext) {
	c := ac.(*context)
	_, _, ends, skip := sg.Info()
	if n, _ := sg.Lengths(); n > 0 || skip > 0 {
		p := Part{Server: c.server, At: c.at, Lost: max(skip, 0)}
		if n > 0 {
			p.Bytes = bytes.Clone(sg.Fetch(n))
		}
		s.add(p)
	}
	switch {
	case ends && c.reset:
		s.end(c, Reset)
	case ends:
		s.end(c, EOF)
	}
}

// ReassemblyComplete is reassembly.Stream's.
func (s *stream) ReassemblyComplete(reassembly.AssemblerContext) bool { return true }

// end notes the end of a side.
func (s *stream) end(c *context, how End) {
	if s.over {
		return
	}
	s.add(Part{Server: c.server, At: c.at, End: how})
	s.ended[side(c.server)] = true
	s.over = how == Reset
}

// add adds a part, as long as there is room.
func (s *stream) add(p Part) {
	if s.over || s.Cut {
		return
	}
	if p.Bytes == nil && p.Lost == 0 && p.End == Open {
		return
	}
	cost := len(p.Bytes) + partCost
	if s.r.kept+cost > mostKept {
		s.Cut, s.r.traffic.Cut = true, true
		return
	}
	s.r.kept += cost
	s.Parts = append(s.Parts, p)
}
