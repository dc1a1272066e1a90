package main

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"bulkhead/bench/internal/load"
)

const (
	haproxy        = "haproxy"
	haproxySpliced = "haproxy-splice"
	bulkheadRelay  = "bulkhead"
	haproxySNI     = "haproxy-sni"
	bulkheadSNI    = "bulkhead-sni"
	bulkheadSOCKS  = "bulkhead-socks5"
)

// relayServers are the contestants of the table of relays.
func relayServers(*settings) []server {
	g := guest{plugin: "guests/src/relay.wasm", instance: "connection", config: func(at place) string {
		return fmt.Sprintf("[listener.config]\nto = %q\n", "tcp://"+at.backend)
	}}
	return []server{
		relaying(haproxy, "", "default_backend behind"),
		relaying(haproxySpliced, "option splice-request\noption splice-response\n", "default_backend behind"),
		{name: bulkheadRelay, program: "bulkhead", relays: true, arguments: g.run},
		{name: "go-copy", program: "gorelay", relays: true, arguments: func(at place) ([]string, error) {
			return []string{at.address, at.backend}, nil
		}},
	}
}

// routingServers are the contestants of the table of routing. What is relayed is chosen
// by what the client says first.
func routingServers(*settings) []server {
	sni := guest{plugin: "../examples/sni-router/sni-router.wasm", instance: "connection", config: func(at place) string {
		return fmt.Sprintf("[listener.config.routes]\n%q = { to = %q }\n", routedName, "tcp://"+at.backend)
	}}
	byName := relaying(haproxySNI, "", "tcp-request inspect-delay 5s\ntcp-request content accept if { req.ssl_hello_type 1 }\nuse_backend behind if { req.ssl_sni -i "+routedName+" }")
	byName.visit = hello
	socks := guest{plugin: "../examples/socks5/socks5.wasm", instance: "connection"}
	return []server{
		byName,
		{name: bulkheadSNI, program: "bulkhead", relays: true, visit: hello, arguments: sni.run},
		{name: bulkheadSOCKS, program: "bulkhead", relays: true, visit: socksVisit, arguments: socks.run},
		{name: "bulkhead-c", program: "bulkhead", relays: true, arguments: relayServers(nil)[2].arguments},
		relaying("haproxy-tcp", "", "default_backend behind"),
	}
}

// relaying is HAProxy with lines of its configuration.
func relaying(name, defaults, frontend string) server {
	s := rival(name, "haproxy", proxied(defaults, frontend))
	s.relays = true
	return s
}

// proxied writes a configuration of HAProxy in TCP mode, with as many threads as there
// are cores and without a log.
func proxied(defaults, frontend string) func(place) ([]string, error) {
	return func(at place) ([]string, error) {
		file := filepath.Join(at.dir, "haproxy.cfg")
		text := fmt.Sprintf(`global
nbthread %d
maxconn 4000

defaults
mode tcp
timeout connect 10s
timeout client 5m
timeout server 5m
%s
frontend front
bind %s
%s

backend behind
server one %s
`, at.cores, defaults, at.address, frontend, at.backend)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("writing the configuration of HAProxy: %w", err)
		}
		return []string{"-db", "-f", file}, nil
	}
}

// routedName is the server that clients ask for.
const routedName = "www.example.test"

// hello is the visit of a TLS client, of which nothing but the ClientHello is needed.
func hello(string) ([]load.Step, []byte) { return nil, clientHello() }

// clientHello is what crypto/tls begins with when it asks for routedName.
var clientHello = sync.OnceValue(func() []byte {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	go func() {
		defer ours.Close()
		_ = tls.Client(ours, &tls.Config{ServerName: routedName}).HandshakeContext(ctx)
	}()
	b := make([]byte, 16<<10)
	n, err := theirs.Read(b) // a record is one write
	if err != nil || n < 5 || n != 5+int(binary.BigEndian.Uint16(b[3:])) {
		panic(fmt.Sprintf("crypto/tls began with %d bytes (%v)", n, err))
	}
	return b[:n]
})

// socksVisit asks a SOCKS proxy for the backend, without a password (RFC 1928).
func socksVisit(backend string) ([]load.Step, []byte) {
	to := netip.MustParseAddrPort(backend)
	ip := to.Addr().As4()
	connect := append([]byte{5, 1, 0, 1}, ip[:]...)
	connect = binary.BigEndian.AppendUint16(connect, to.Port())
	return []load.Step{
		{Send: []byte{5, 1, 0}, Expect: []byte{5, 0}},
		{Send: connect, Expect: []byte{5, 0, 0, 1}, Ignore: 6},
	}, nil
}

func relayPlan(s *settings) plan {
	d := s.length(pick[time.Duration](s, 200, 250, 600) * time.Millisecond)
	p := plan{Repeats: pick(s, 1, 3, 5)}
	counts := connections
	if s.smoke {
		counts = []int{4}
	}
	for _, up := range []bool{false, true} {
		for _, n := range counts {
			p.Cells = append(p.Cells, streamCell(n, up, d))
		}
	}
	for _, n := range counts {
		p.Cells = append(p.Cells, echoCell(n, 64, 1, d))
	}
	if !s.quick {
		p.Cells = append(p.Cells, echoCell(counts[len(counts)/2], 16<<10, 1, d))
	}
	return p
}

func routingPlan(s *settings) plan {
	d := s.length(pick[time.Duration](s, 200, 600, 1000) * time.Millisecond)
	p := plan{Repeats: pick(s, 1, 3, 7)}
	for _, n := range pick(s, []int{4}, connections, connections) {
		p.Cells = append(p.Cells, churnCell(n, d))
	}
	return p
}

func streamCell(conns int, up bool, d time.Duration) cell {
	name := fmt.Sprintf("%d x download", conns)
	if up {
		name = fmt.Sprintf("%d x upload", conns)
	}
	return cell{Name: name, Job: load.Job{
		Kind: load.Stream, Conns: conns, Upload: up,
		Warmup: d, Duration: d, Timeout: 10 * time.Second,
	}}
}
