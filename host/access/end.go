package access

import (
	"encoding/hex"
	"net/netip"
	"strconv"
	"time"

	"bulkhead/csa"
	"bulkhead/host/conns"
	"bulkhead/host/dial"
	"bulkhead/host/logs"
)

// Line is what a connection's line says: at its end, or while it is open.
type Line struct {
	// Open says that the connection is open yet: then there is no Reason.
	Open bool
	// At is when, and Owner whose it is.
	At    time.Time
	Owner *conns.Owner
	// Module is the name of its handler's module, and Sum its SHA-256; "" and nil: it never had
	// one, or its handler is written in Go.
	Module string
	Sum    *[32]byte
	// Dialled says that a handler had dialled it.
	Dialled     bool
	Transport   string
	Peer, Local netip.AddrPort // not valid: it has none
	TLS         *conns.TLS     // nil: it had none, or that never was up
	Account     csa.Account
	// PeakMemory is the most linear memory that its handler's instance has had, in bytes; 0: that
	// is not known, or it never had an instance.
	PeakMemory int64
	// Upstreams are the connections that its handler has dialled for it. Nil: there was none.
	Upstreams *dial.Dialled
	Reason    csa.Reason
}

// timeFormat is that of the log.
const timeFormat = "2006-01-02T15:04:05.000Z"

// append appends the line. Text that peers and handlers choose is quoted.
func (e *Line) append(b []byte) []byte {
	a, o := &e.Account, e.Owner
	b = append(b, `{"time":"`...)
	b = e.At.UTC().AppendFormat(b, timeFormat)
	b = append(b, `","id":`...)
	b = strconv.AppendUint(b, a.Number, 10)
	b = appendText(b, "listener", o.Listener)
	if o.Route != "" {
		b = appendText(b, "route", o.Route)
	}
	b = appendText(b, "tenant", o.Tenant)
	b = appendInt(b, "generation", o.Generation)
	if e.Module != "" {
		b = appendText(b, "module", e.Module)
	}
	if e.Sum != nil {
		b = append(b, `,"sha256":"`...)
		b = hex.AppendEncode(b, e.Sum[:])
		b = append(b, '"')
	}
	if e.Dialled {
		b = append(b, `,"dialled":true`...)
	}
	b = appendText(b, "transport", e.Transport)
	b = appendAddress(b, "peer", e.Peer)
	b = appendAddress(b, "local", e.Local)
	if a.Proxied {
		b = append(b, `,"proxied":true`...)
	}
	if t := e.TLS; t != nil {
		b = append(b, `,"tls":{"version":`...)
		b = logs.AppendQuoted(b, t.Version)
		b = appendText(b, "cipher", t.Cipher)
		if t.ServerName != "" {
			b = appendText(b, "server_name", t.ServerName)
		}
		if t.ALPN != "" {
			b = appendText(b, "alpn", t.ALPN)
		}
		b = append(b, `,"resumed":`...)
		b = strconv.AppendBool(b, t.Resumed)
		b = append(b, '}')
	}
	b = appendSeconds(b, "duration_seconds", a.Age)
	if a.FirstIn >= 0 {
		b = appendSeconds(b, "first_in_seconds", a.FirstIn)
	}
	if a.FirstOut >= 0 {
		b = appendSeconds(b, "first_out_seconds", a.FirstOut)
	}
	b = appendInt(b, "in", a.Received)
	b = appendInt(b, "out", a.Sent)
	b = appendInt(b, "events", int64(a.Events))
	b = appendInt(b, "fuel", a.Fuel)
	b = appendSeconds(b, "cpu_seconds", a.CPU)
	if e.PeakMemory > 0 {
		b = appendInt(b, "peak_mem", e.PeakMemory)
	}
	if u := e.Upstreams; u != nil {
		b = append(b, `,"upstreams":[`...)
		for i, one := range u.First {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, `{"id":`...)
			b = strconv.AppendUint(b, one.Number, 10)
			b = append(appendAddress(b, "peer", one.Peer), '}')
		}
		b = append(b, ']')
		if u.More > 0 {
			b = appendInt(b, "more_upstreams", int64(u.More))
		}
	}
	if e.Open {
		b = appendSeconds(b, "idle_seconds", a.Idle)
		return append(b, `,"open":true}`+"\n"...)
	}
	info := e.Reason.Cause.Info()
	b = appendText(b, "who", e.Reason.Cause.Who())
	b = appendText(b, "cause", info.Name)
	if info.Key != "" {
		b = appendText(b, "key", info.Key)
	}
	b = appendText(b, "code", e.Reason.Code.String())
	b = appendText(b, "why", e.Reason.Why)
	return append(b, '}', '\n')
}

func appendName(b []byte, name string) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	return append(b, '"', ':')
}

func appendText(b []byte, name, text string) []byte {
	return logs.AppendQuoted(appendName(b, name), text)
}

func appendInt(b []byte, name string, n int64) []byte {
	return strconv.AppendInt(appendName(b, name), n, 10)
}

// appendSeconds writes a time to the microsecond.
func appendSeconds(b []byte, name string, d time.Duration) []byte {
	d = max(d, 0)
	b = appendInt(b, name, int64(d/time.Second))
	us := int64(d % time.Second / time.Microsecond)
	if us == 0 {
		return b
	}
	b = append(b, '.')
	for digit := int64(100_000); us > 0; digit /= 10 {
		b = append(b, byte('0'+us/digit))
		us %= digit
	}
	return b
}

func appendAddress(b []byte, name string, a netip.AddrPort) []byte {
	if !a.IsValid() {
		return b
	}
	b = append(appendName(b, name), '"')
	if zone := a.Addr().Zone(); zone != "" { // which the system has named
		return logs.AppendQuoted(b[:len(b)-1], a.String())
	}
	return append(a.AppendTo(b), '"')
}
