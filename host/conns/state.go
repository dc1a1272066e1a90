package conns

import (
	"crypto/tls"
	"time"

	"bulkhead/csa"
	"bulkhead/host/arriving"
	"bulkhead/host/front"
	"bulkhead/host/handlers"
	"bulkhead/plugins"
)

// doing is what a connection's handler does.
type doing byte

const (
	takesEvents doing = iota
	awaitsProxyHeader
	awaitsRequest
	asleep
	background
	backgroundWaits
	waitsForCPU
	waitsForCalls
	waitsForMemory
	waitsForMappings
	waitsForInstance
)

// doingOf asks a connection's handler, on its loop.
func doingOf(c *csa.CSA) doing {
	if awaits, is := front.Awaits(c); is && awaits == arriving.Request {
		return awaitsRequest
	} else if is {
		return awaitsProxyHeader
	}
	h := front.HandlerOf(c)
	i, ok := h.(*plugins.Instance)
	if !ok {
		if handlers.Waits(h, c) {
			return waitsForInstance
		}
		return takesEvents
	}
	switch i.Doing() {
	case plugins.Asleep:
		return asleep
	case plugins.Background:
		return background
	case plugins.BackgroundWaits:
		return backgroundWaits
	case plugins.WaitsForCPU:
		if t, ok := c.Budget().(interface{ Crowded() bool }); ok && t.Crowded() {
			return waitsForCalls
		}
		return waitsForCPU
	case plugins.WaitsForMemory:
		return waitsForMemory
	case plugins.WaitsForMappings:
		return waitsForMappings
	}
	return takesEvents
}

// accountOf is a connection's account on its loop, with what a call has used that goes on: one that
// computes without an end is told of at no other time.
func accountOf(c *csa.CSA) csa.Account {
	a := c.Account()
	var fuel, cpu int64
	switch h := front.HandlerOf(c).(type) {
	case *plugins.Instance:
		fuel, cpu = h.UnderWay(c)
	case *plugins.Process:
		fuel, cpu = h.UnderWay()
	}
	a.Fuel += fuel
	a.CPU += time.Duration(cpu)
	return a
}

// bits are the words for what a connection does, in the order in which they stand.
var bits = []struct {
	s    csa.State
	word string
}{
	{csa.Shaking, "handshake"}, {csa.Computing, "computing"}, {csa.Relayed, "relay"}, {csa.Paused, "paused"}, {csa.Blocked, "blocked"},
	{csa.Ended, "peer-finished"}, {csa.Finishing, "finishing"},
}

// limits are the keys of what a handler waits for.
var limits = map[doing]string{
	backgroundWaits: "cpu", waitsForCPU: "cpu", waitsForCalls: "calls", waitsForMemory: "memory", waitsForMappings: "mappings", waitsForInstance: "instances, memory, mappings",
}

// words says in words what a connection does, "open" if nothing else, and which keys it waits for.
func words(s csa.State, d doing) (state, by []string) {
	for _, b := range bits {
		if s&b.s != 0 {
			state = append(state, b.word)
		}
	}
	switch d {
	case awaitsProxyHeader:
		state = append(state, arriving.ProxyHeader.String())
	case awaitsRequest:
		state = append(state, arriving.Request.String())
	case asleep:
		state = append(state, "asleep")
	case background, backgroundWaits:
		state = append(state, "background")
	}
	if s&(csa.ThrottledIn|csa.ThrottledOut) != 0 {
		by = append(by, "bandwidth")
	}
	if key := limits[d]; key != "" {
		by = append(by, key)
	}
	if by != nil {
		state = append(state, "throttled")
	}
	if state == nil {
		state = []string{"open"}
	}
	return state, by
}

// TLSOf is what is known of a connection's TLS; nil: there is none, or it is not up. It is called
// on the connection's loop, also when that has ended.
func TLSOf(c *csa.CSA) *TLS {
	state, ok := c.TLSState()
	if !ok {
		return nil
	}
	return &TLS{
		Version: tls.VersionName(state.Version), Cipher: tls.CipherSuiteName(state.CipherSuite),
		ServerName: state.ServerName, ALPN: state.ALPN, Resumed: state.Resumed,
	}
}
