// Package capture makes conversations (package talk) of captures of traffic: files of tcpdump and
// Wireshark, pcap or pcapng, also compressed by gzip. It puts the streams of TCP connections
// together again, over IPv4 and IPv6, on Ethernet with or without VLANs, on loopback, and as Linux
// captures all interfaces.
//
// A capture comes from outside: whatever is in it, reading it takes bounded memory and never
// panics.
package capture

import (
	"net/netip"
	"time"
)

// Bounds of what is kept of a capture, however long it is.
const (
	// mostKept is how many bytes are kept of what the connections have said, each part with
	// partCost more. A conversation has at most four times as many, and a file 16 MiB.
	mostKept = 3 << 20
	partCost = 64
	// mostConnections is how many connections are kept.
	mostConnections = 1000
	// mostFlows is how many flows Ports tells apart.
	mostFlows = 1 << 16
	// mostPages are the pages of 1900 bytes that wait for bytes before them, of all connections and
	// of one.
	mostPages       = 4096
	mostPagesOfOne  = 1024
	mostPacketBytes = 256 << 10
)

// Port is who is talked to in a capture.
type Port struct {
	Network     string // "tcp" or "udp"
	Number      uint16
	Connections int   // for UDP: clients
	Bytes       int64 // that both sides have sent
}

// Traffic is what clients and the server of one port have said.
type Traffic struct {
	Port        uint16
	Connections []*Connection // in the order in which they began
	// Cut says that connections were not kept, or not to their end: there were more than 1000, or
	// they have said more than 3 MiB.
	Cut bool
	// Datagrams is how many were sent to and from the port over UDP. They are left out.
	Datagrams int
	Skipped   Skipped
}

// Skipped are packets of a capture that could not be used, by why.
type Skipped struct {
	Truncated int   // the capture has the beginnings of packets only
	Fragments int   // pieces of IP packets
	Broken    error // where the file ends in the middle, or its rest cannot be read; nil: it is whole
}

// Connection is one connection of TCP.
type Connection struct {
	Client, Server netip.AddrPort
	Began          time.Time
	Parts          []Part // in the order in which they were captured
	Cut            bool   // more was said than is kept
}

// Part is a piece of what one side has sent, or how it has ended.
type Part struct {
	Server bool // it is the server's, not the client's
	At     time.Time
	Bytes  []byte
	Lost   int // so many bytes before these are not in the capture
	End    End
}

// End is how a side has ended.
type End int

// The ends.
const (
	Open  End = iota // it has not
	EOF              // it sends no more
	Reset            // it has broken off
)
