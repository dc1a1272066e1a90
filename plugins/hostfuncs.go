package plugins

import (
	"time"

	"bulkhead/abi"
	"bulkhead/csa"
	"bulkhead/plugins/wasi"
)

// The host functions of package abi's table are methods of Instance here and in connect.go, by
// the same names; hostcalls.go, which comes from the table, calls them.
//
// They run in the middle of a guest's call, and on the instance's loop unless their row says
// that they may run off it. So they only do what may be done there: whatever ends a connection
// takes effect when the call is over.

var noConfig = []byte("{}")

// at is the guest's memory from ptr on, n bytes of it, which has to be 0 or
// more. It unwinds the guest when that is not all inside. What it returns is
// good until the host function returns.
func (i *Instance) at(function string, ptr uint32, n int32) []byte {
	b := i.memory.Bytes()
	end := uint64(ptr) + uint64(n)
	if end > uint64(len(b)) {
		panic(&rangeError{function, ptr, uint32(n), len(b)})
	}
	return b[ptr:end:end]
}

// largeSend is how many bytes take so long to write that the guest could have touched many pages
// meanwhile. It has not, and that is worth two looks at the clock: see memory.Linear.Ran.
const largeSend = 4 << 10

func (i *Instance) send(handle int32, ptr uint32, n int32) int32 {
	if n < 0 {
		return i.badData(abi.Invalid, "it called send with a negative length")
	}
	p := i.at("send", ptr, n)
	s := i.handles.get(handle)
	if s == nil {
		return i.badData(abi.BadHandle, "it called send with a handle that it does not have, as when csa_closed was called for it")
	}
	var began int64
	if n >= largeSend {
		began = nanotime()
	}
	taken, code := s.conn.Send(p)
	if n >= largeSend {
		i.exec.use.sent += nanotime() - began
	}
	if taken > 0 {
		return int32(taken)
	}
	return int32(code)
}

// badData does what the listener says about a guest that sends nonsense, and
// returns the code.
func (i *Instance) badData(code abi.Code, why string) int32 {
	if i.listener.logsBadData() || i.serving == nil {
		i.notice(abi.LogWarn, "bad data to send from its handler: "+why)
	} else {
		i.serving.ShutdownMicroprocess(csa.BadData.Because("bad data to send from its handler: " + why))
	}
	return int32(code)
}

func (i *Instance) control(handle, what int32) abi.Code {
	if handle == -1 && what == abi.HandlerFailed {
		i.failed()
		return abi.OK
	}
	s := i.handles.get(handle)
	if s == nil {
		return abi.BadHandle
	}
	switch what {
	case abi.ProducerFinished:
		s.conn.ProducerFinished()
	case abi.ShutdownMicroprocess:
		s.conn.ShutdownMicroprocess(csa.HandlerEnded.Reason())
	case abi.FinishSending:
		s.conn.FinishSending()
	case abi.HandlerFailed:
		i.failed()
		s.conn.ShutdownMicroprocess(csa.HandlerFailed.Reason())
	default:
		return abi.Invalid
	}
	return abi.OK
}

// failed tells of an error that the guest does not deal with. One while it starts is a start that
// has failed, if it is anything.
func (i *Instance) failed() {
	if i.listener.OnFailed != nil && i.state == running {
		i.listener.OnFailed()
	}
}

func (i *Instance) receive(handle, on int32) abi.Code {
	s := i.handles.get(handle)
	switch {
	case s == nil:
		return abi.BadHandle
	case on != 0 && on != 1:
		return abi.Invalid
	}
	s.conn.Receive(on == 1)
	return abi.OK
}

func (i *Instance) want(handle, n int32) abi.Code {
	s := i.handles.get(handle)
	switch {
	case s == nil:
		return abi.BadHandle
	case n < 1 || uint32(n) > i.length:
		return abi.Invalid
	}
	s.conn.Want(int(n))
	return abi.OK
}

func (i *Instance) info(handle, key int32, ptr uint32, capacity int32) int32 {
	if capacity < 0 {
		return int32(abi.Invalid)
	}
	to := i.at("info", ptr, capacity)
	s := i.handles.get(handle)
	if s == nil {
		return int32(abi.BadHandle)
	}
	var text string
	switch key {
	case abi.InfoPeer:
		text = s.conn.Peer()
	case abi.InfoLocal:
		text = s.conn.Local()
	case abi.InfoListener:
		text = i.listener.Name
	case abi.InfoTenant:
		text = i.listener.Tenant
	case abi.InfoTransport:
		text = s.conn.Transport()
	case abi.InfoCertificate:
		if t := s.conn.Transport(); i.listener.MakeSSL != nil && i.listener.Certificate && t != "udp" && t != "ws" {
			text = "yes"
		}
	case abi.InfoMessage, abi.InfoTarget, abi.InfoOrigin, abi.InfoSubprotocol:
		text = s.conn.WebSocketInfo(key)
	default:
		if key < abi.InfoServerName || key > abi.InfoClientFingerprint {
			return int32(abi.Invalid)
		}
		text = s.conn.TLSInfo(key)
	}
	copy(to, text)
	return int32(len(text))
}

func (i *Instance) config(ptr uint32, capacity int32) int32 {
	if capacity < 0 {
		return int32(abi.Invalid)
	}
	to := i.at("config", ptr, capacity)
	config := i.listener.Config
	if config == nil {
		config = noConfig
	}
	copy(to, config)
	return int32(len(config))
}

func (i *Instance) timer(handle, token, ms int32) abi.Code {
	// Less would have a loop turn for nothing else, in the tenant's time, but everybody's turn.
	d := time.Duration(max(ms, 1)) * time.Millisecond
	if handle == -1 {
		if ms < 0 {
			i.stopTimer(token)
			return abi.OK
		}
		return i.setTimer(token, d)
	}
	s := i.handles.get(handle)
	if s == nil {
		return abi.BadHandle
	}
	i.forget(callTimer, handle, uint64(uint32(token)))
	if ms < 0 {
		s.conn.StopTimer(token)
		return abi.OK
	}
	if code := s.conn.SetTimer(token, d); code != abi.Closed {
		return code
	}
	return abi.OK // it ends with the connection, before it could fire
}

func (i *Instance) clock(which int32) int64 {
	switch which {
	case abi.ClockWall:
		return i.wall()
	case abi.ClockMonotonic:
		return i.monotonic()
	}
	return int64(abi.Invalid)
}

func (i *Instance) random(ptr uint32, n int32) abi.Code {
	if n < 0 {
		return abi.Invalid
	}
	wasi.Random(i.wasi.System, i.at("random", ptr, n))
	return abi.OK
}

func (i *Instance) log(level int32, ptr uint32, n int32) abi.Code {
	if n < 0 || level < abi.LogDebug || level > abi.LogError {
		return abi.Invalid
	}
	i.guestLine(level, i.at("log", ptr, n))
	return abi.OK
}

func (i *Instance) count(ptr uint32, n int32, add int64) abi.Code {
	if n < 0 {
		return abi.Invalid
	}
	name := i.at("count", ptr, n)
	if len(name) == 0 || len(name) > abi.MaxMetricName {
		return abi.Invalid
	}
	for _, c := range name {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_') {
			return abi.Invalid
		}
	}
	return i.module.runtime.options.Counter.Count(name, add)
}
