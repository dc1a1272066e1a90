package guesttest

import (
	"slices"

	"bulkhead/sdk/go"
	"bulkhead/sdk/go/internal/seam"
)

// functions are the host functions, in the hands of the guest.
type functions struct{ h *Host }

func (f functions) stale(conn int32) bool {
	p := f.h.find(conn)
	return p == nil || p.dead
}

func (f functions) Send(conn int32, b []byte) int32 {
	if f.stale(conn) {
		return int32(guest.BadHandle)
	}
	p := f.h.find(conn)
	if p.finished || p.dying {
		return int32(guest.Closed)
	}
	if p.udp && len(b) > 65507 {
		return int32(guest.Invalid)
	}
	n := max(0, min(len(b), f.h.options.Inbox-len(p.inbox)))
	switch {
	case p.pending || p.securing:
		n = 0
	case p.udp && n < len(b):
		n = 0 // a datagram goes whole or not at all
	case p.udp:
		p.sizes = append(p.sizes, n)
	}
	p.inbox = append(p.inbox, b[:n]...)
	if n < len(b) || p.udp && p.pending { // an empty datagram has to wait, too
		p.blocked = true
		if n == 0 {
			return int32(guest.Again)
		}
	}
	return int32(n)
}

func (f functions) Control(conn, what int32) int32 {
	if conn == -1 && what == seam.HandlerFailed {
		return 0 // no connection ends by it
	}
	if f.stale(conn) {
		return int32(guest.BadHandle)
	}
	p := f.h.find(conn)
	if p.pending && what >= seam.ProducerFinished && what <= seam.HandlerFailed {
		p.kill(0) // it is given up
		return 0
	}
	switch what {
	case seam.ProducerFinished:
		// What is in the inbox counts as sent: the peer can receive it.
		p.finished = true
		p.kill(0)
	case seam.ShutdownMicroprocess:
		if !p.dying {
			p.inbox = nil
		}
		p.kill(0)
	case seam.HandlerFailed:
		if !p.dying {
			p.inbox = nil
		}
		p.kill(int32(guest.Invalid))
	case seam.FinishSending:
		// No csa_writable comes any more, so nothing may wait for it.
		p.finished, p.blocked, p.offer = true, false, true
	default:
		return int32(guest.Invalid)
	}
	return 0
}

func (f functions) Receive(conn, on int32) int32 {
	if f.stale(conn) {
		return int32(guest.BadHandle)
	}
	p := f.h.find(conn)
	switch on {
	case 0:
		p.paused = true
	case 1:
		p.paused, p.offer, p.refuse = false, true, false
	default:
		return int32(guest.Invalid)
	}
	return 0
}

func (f functions) Want(conn, n int32) int32 {
	if f.stale(conn) {
		return int32(guest.BadHandle)
	}
	if n < 1 || int(n) > len(f.h.window) {
		return int32(guest.Invalid)
	}
	p := f.h.find(conn)
	p.want = int(n)
	if len(p.in) >= p.want {
		p.offer = true
	}
	return 0
}

func (f functions) Info(conn, key int32, b []byte) int32 {
	if f.stale(conn) {
		return int32(guest.BadHandle)
	}
	var value string
	p := f.h.find(conn)
	switch key {
	case seam.InfoPeer:
		value = p.remote()
	case seam.InfoLocal:
		value = p.local()
	case seam.InfoListener:
		value = f.h.options.Listener
	case seam.InfoTenant:
		value = f.h.options.Tenant
	case seam.InfoTransport:
		value = p.transport()
	case seam.InfoCertificate:
		if f.h.options.Certificate && !p.udp {
			value = "yes"
		}
	default:
		if key < seam.InfoServerName || key > seam.InfoClientFingerprint {
			return int32(guest.Invalid)
		}
		if p.tls {
			value = p.facts.value(key)
		}
	}
	copy(b, value)
	return int32(len(value))
}

func (f functions) Config(b []byte) int32 {
	copy(b, f.h.options.Config)
	return int32(len(f.h.options.Config))
}

func (f functions) Timer(conn, token, ms int32) int32 {
	h := f.h
	if conn != -1 && f.stale(conn) {
		return int32(guest.BadHandle)
	}
	if conn != -1 && h.find(conn).pending {
		return int32(guest.Again)
	}
	h.timers = slices.DeleteFunc(h.timers, func(t timer) bool { return t.handle == conn && t.token == token })
	if ms < 0 {
		return 0
	}
	n := 0
	for _, t := range h.timers {
		if t.handle == conn {
			n++
		}
	}
	if n >= guest.MaxTimers {
		return int32(guest.Quota)
	}
	h.timers = append(h.timers, timer{conn, token, h.now + int64(ms)*1e6})
	return 0
}

func (f functions) Clock(which int32) int64 {
	switch which {
	case seam.ClockWall:
		return 1_750_000_000e9 + f.h.now
	case seam.ClockMonotonic:
		return f.h.now
	}
	return int64(guest.Invalid)
}

// Random is the same in every run, so that tests are.
func (f functions) Random(b []byte) int32 {
	_, _ = f.h.random.Read(b)
	return 0
}

func (f functions) Log(level int32, b []byte) int32 {
	if level < int32(guest.LogDebug) || level > int32(guest.LogError) {
		return int32(guest.Invalid)
	}
	f.h.logs = append(f.h.logs, Line{guest.Level(level), string(b[:min(len(b), guest.MaxLogLine)])})
	return 0
}

func (f functions) Count(name []byte, n int64) int32 {
	if len(name) == 0 || len(name) > guest.MaxMetricName {
		return int32(guest.Invalid)
	}
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return int32(guest.Invalid)
		}
	}
	if _, ok := f.h.counts[string(name)]; !ok && len(f.h.counts) >= guest.MaxMetrics {
		return int32(guest.Quota)
	}
	f.h.counts[string(name)] += n
	return 0
}
