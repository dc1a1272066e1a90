package zoo

import (
	"slices"

	"bulkhead/host"
	w "bulkhead/internal/wasmtest"
)

// animal is a hostile guest and what has to become of it.
type animal struct {
	name  string
	guest func() []byte
	// modes are the kinds of instances it is tried in: connection, loop,
	// listener or stdio.
	modes []string
	// tenant and listener are further lines of their tables.
	tenant, listener string
	// provoke sets it off, and returns when it is over. Nil: see bait.
	provoke func(c *cage)
	// said is what the log has to say of it, as a regular expression. Empty:
	// nothing is wanted.
	said string
	// counted is a counter that has to rise. Nil: none has to.
	counted func(host.TenantStats, host.ListenerStats) int64
}

var (
	handlers   = []string{"connection", "loop", "listener"}
	ownOnly    = []string{"connection"}
	sharedOnly = []string{"loop", "listener"}
	commands   = []string{"stdio"}
)

func stopped(_ host.TenantStats, l host.ListenerStats) int64 { return l.LimitStops }
func trapped(_ host.TenantStats, l host.ListenerStats) int64 { return l.Traps }
func failed(_ host.TenantStats, l host.ListenerStats) int64  { return l.StartFailures }

// timedOut is what the log says of a call that was stopped by event_timeout.
const timedOut = `was stopped.*event_timeout`

// animals are all of them.
func animals() []animal {
	return slices.Concat(spinners, bulky, growers, floods, outsiders(), callbacks(), slow, programs)
}

// imported is a function of csa_v1 and its signature.
type imported = [2]string

var (
	send     = imported{"send", "iii:i"}
	control  = imported{"control", "ii:i"}
	receive  = imported{"receive", "ii:i"}
	want     = imported{"want", "ii:i"}
	info     = imported{"info", "iiii:i"}
	settings = imported{"config", "ii:i"}
	timer    = imported{"timer", "iii:i"}
	random   = imported{"random", "ii:i"}
	logLine  = imported{"log", "iii:i"}
	count    = imported{"count", "iiI:i"}
)

// The locals of csa_data in a guest that echo makes.
const (
	conn    = 0
	length  = 1
	scratch = 2 // and 3: i32
)

// echo makes a handler that sends back what it gets, until the first byte of it
// is a '!': then it does what fault gives. fault may add to the module. It is given the
// functions imported beside send, which is 0.
func echo(fault func(m *w.Module, f []w.Func) []byte, imports ...imported) *w.Module {
	m, f := w.Handler(append([]imported{send}, imports...)...)
	do := fault(m, f[1:])
	m.Func("csa_data", "ii:i", "ii",
		w.I32Const(w.WindowAt), w.I32Load8U(0), w.I32Const('!'), w.I32Eq, w.If(do),
		w.LocalGet(conn), w.I32Const(w.WindowAt), w.LocalGet(length), w.Call(f[0]), w.LocalTee(scratch),
		w.I32Const(0), w.I32LtS, w.IfElse('i', w.I32Const(0), w.LocalGet(scratch)))
	return m
}

// just is for echo where nothing has to be added to the module.
func just(body ...[]byte) func(*w.Module, []w.Func) []byte {
	return func(*w.Module, []w.Func) []byte { return w.Cat(body...) }
}

// times repeats instructions.
func times(n int, body ...[]byte) []byte { return slices.Repeat(w.Cat(body...), n) }
