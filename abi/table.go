package abi

// ValueType is the type of one parameter or result.
type ValueType byte

// The value types that version 1 uses.
const (
	I32 ValueType = iota // I32 is a 32-bit integer; signed unless said otherwise.
	I64                  // I64 is a signed 64-bit integer.
)

// String is the name of the type in WebAssembly text: "i32" or "i64".
func (t ValueType) String() string {
	switch t {
	case I32:
		return "i32"
	case I64:
		return "i64"
	}
	return "unknown"
}

// Access says what the host does with the guest's memory at a pointer.
type Access byte

// The kinds of access.
const (
	None   Access = iota // None: the parameter is a plain number.
	Reads                // Reads: the host reads from here, and keeps no reference.
	Writes               // Writes: the host writes here, before it returns.
)

// Param is one parameter of a function.
type Param struct {
	Name string
	Type ValueType
	// Access is other than None for an I32 that is a pointer. Its length is the
	// parameter that follows it.
	Access Access
}

// Function is one function of the contract.
type Function struct {
	// Name is the name of the import or export.
	Name string
	// Params are the parameters, in order.
	Params []Param
	// Results holds one type, or is empty.
	Results []ValueType
	// Doc says what the function does for its caller: a few sentences of
	// Markdown, with an empty line between paragraphs.
	Doc string
	// Errors are the codes it may answer, apart from OK.
	Errors []Code
	// Since is the version of the contract that first had it, such as "v1".
	Since string
	// Built reports whether this host does it. A host function that is not
	// built answers Unsupported; an export that is not built is not called.
	Built bool
}

// HostFunction is a function that the guest may import. What is not said of it is the safe
// answer: it is for handlers alone, and runs on its connection's loop.
type HostFunction struct {
	Function
	// OffLoop reports whether a call that has left its loop may use the function where it is.
	// Any other has the call come to the loop first, since it touches what is the loop's.
	OffLoop bool
	// TakesLong reports whether one call of it may take longer than it is charged for, as one
	// that copies what the guest says does. The guest's time is looked at when it returns.
	TakesLong bool
	// Later names the exports by which the guest hears how what the function has begun went
	// on. The function itself never waits. Empty: all is done when it returns.
	Later []string
	// Commands reports whether a command (shape "stdio") may import it: it needs no connection
	// and no loop, and nothing of it comes later.
	Commands bool
}

// Export is a function that the guest may export and the host calls.
type Export struct {
	Function
	// Required reports whether a guest without it is refused.
	Required bool
}

// Memory is the name under which a guest has to export its memory.
const Memory = "memory"

func val(name string) Param   { return Param{Name: name} }
func val64(name string) Param { return Param{Name: name, Type: I64} }
func in(name string) Param    { return Param{Name: name, Access: Reads} }
func out(name string) Param   { return Param{Name: name, Access: Writes} }

var (
	i32 = []ValueType{I32}
	i64 = []ValueType{I64}
)

// HostFunctions is the table of what a guest may import from Module. It must
// not be changed.
var HostFunctions = []HostFunction{
	{TakesLong: true, Later: []string{"csa_writable"}, Function: Function{
		Name:    "send",
		Params:  []Param{val("conn"), in("ptr"), val("len")},
		Results: i32,
		Doc: "Puts `len` bytes at `ptr` into the inbox of `conn`: as many as it has room for. Returns how many it took, " +
			"which for a `len` above 0 is at least 1. What is taken is on its way; the memory may be used again at once.\n\n" +
			"AGAIN says that there was no room at all. Whenever `send` takes less than `len`, `csa_writable` comes once there is room again. " +
			"A `len` of 0 takes nothing and returns 0, or CLOSED.\n\n" +
			"CLOSED says that the guest has said producerFinished or finish sending, or that the peer is gone. " +
			"QUOTA says that the tenant has no memory left for unsent bytes.\n\n" +
			"Over UDP the `len` bytes are one datagram, which is taken whole or not at all; a `len` of 0 sends an empty one and returns 0. INVALID then also says that it is longer than a datagram can be " +
			"(65507 bytes over IPv4, 65527 over IPv6), which is no bad data. What is taken may be lost on its way all the same.\n\n" +
			"BAD_HANDLE and INVALID (a negative `len`) are *bad data to send*: where the listener has `on_bad_data = \"close\"`, which is the default, " +
			"the connection whose event is being served is closed with INVALID after the event; with `\"log\"` it is only logged.",
		Errors: []Code{Invalid, BadHandle, Again, Closed, Quota},
		Since:  "v1", Built: true,
	}},
	{Later: []string{"csa_closed"}, Function: Function{
		Name:    "control",
		Params:  []Param{val("conn"), val("what")},
		Results: i32,
		Doc: "Tells the CSA of `conn`: 0 producerFinished (send what is in the inbox, then close), 1 shutdownMicroprocess (close now), " +
			"2 finish sending (send what is in the inbox, then half-close; receiving goes on). Saying a thing twice does nothing and is no error. " +
			"Nothing takes a close back. However it closes, `csa_closed` comes, after the event that is being served.\n\n" +
			"Over UDP the peer is told nothing. After a close its next datagram is a new connection's; after 2 there is no end to wait for but the idle timeout.",
		Errors: []Code{Invalid, BadHandle},
		Since:  "v1", Built: true,
	}},
	{Function: Function{
		Name:    "receive",
		Params:  []Param{val("conn"), val("on")},
		Results: i32,
		Doc: "Pauses (0) or resumes (1) reading from `conn`. While it is paused no `csa_data` and no `csa_eof` come, and the peer is held back by the network. " +
			"Resuming offers what was not consumed again, also when reading was not paused, but never before this event is over. Any other `on` is INVALID.\n\n" +
			"Nothing holds a peer over UDP back: while reading is paused, some of its datagrams wait in order (`waiting_datagrams`, `waiting_bytes`), and the others are lost. The same holds while a call of the instance takes long.",
		Errors: []Code{Invalid, BadHandle},
		Since:  "v1", Built: true,
	}},
	{Function: Function{
		Name:    "want",
		Params:  []Param{val("conn"), val("n")},
		Results: i32,
		Doc: "Has no `csa_data` come for `conn` before `n` bytes are there, or the peer has finished sending. " +
			"`n` is 1 to the length of the window, else INVALID. It stays in force until it is changed; a new connection has 1. " +
			"When `n` bytes are there already, unconsumed, they are offered again after this event. Over UDP it means nothing.",
		Errors: []Code{Invalid, BadHandle},
		Since:  "v1", Built: true,
	}},
	{TakesLong: true, Function: Function{
		Name:    "info",
		Params:  []Param{val("conn"), val("key"), out("ptr"), val("cap")},
		Results: i32,
		Doc: "Copies what is known about `conn` under `key` to `ptr`, at most `cap` bytes of it, and returns its whole length; a `cap` of 0 asks for the length alone. " +
			"The keys are below; what they hold does not change while the handle is valid.",
		Errors: []Code{Invalid, BadHandle},
		Since:  "v1", Built: true,
	}},
	{OffLoop: true, TakesLong: true, Commands: true, Function: Function{
		Name:    "config",
		Params:  []Param{out("ptr"), val("cap")},
		Results: i32,
		Doc: "Copies the listener's `config` table, as a JSON object, to `ptr`, at most `cap` bytes of it, and returns its whole length; a `cap` of 0 asks for the length alone. " +
			"A listener without the table has `{}`. It does not change while the instance lives.",
		Errors: []Code{Invalid},
		Since:  "v1", Built: true,
	}},
	{Later: []string{"csa_timer"}, Function: Function{
		Name:    "timer",
		Params:  []Param{val("conn"), val("token"), val("ms")},
		Results: i32,
		Doc: "Sets a timer: `csa_timer(conn, token)` comes once, `ms` milliseconds from now, 1 at least. A negative `ms` cancels it, and is no error when there is none. " +
			"`token` is any number and means what the guest wishes. There is one timer for each `conn` and `token`: setting it again moves it. " +
			"A `conn` of -1 is the instance itself. A connection's timers end with it.\n\n" +
			"QUOTA says that the handle has as many timers as it may, AGAIN that it is of a connection that is not open yet.",
		Errors: []Code{BadHandle, Again, Quota},
		Since:  "v1", Built: true,
	}},
	{OffLoop: true, Commands: true, Function: Function{
		Name:    "clock",
		Params:  []Param{val("which")},
		Results: i64,
		Doc:     "Returns the time of clock `which` in nanoseconds: 0 the time of day, 1 a monotonic one. Any other `which` returns -1, INVALID.",
		Errors:  []Code{Invalid},
		Since:   "v1", Built: true,
	}},
	{OffLoop: true, Commands: true, Function: Function{
		Name:    "random",
		Params:  []Param{out("ptr"), val("len")},
		Results: i32,
		Doc:     "Fills `len` bytes at `ptr` with random bytes fit for keys.",
		Errors:  []Code{Invalid},
		Since:   "v1", Built: true,
	}},
	{OffLoop: true, TakesLong: true, Commands: true, Function: Function{
		Name:    "log",
		Params:  []Param{val("level"), in("ptr"), val("len")},
		Results: i32,
		Doc: "Writes `len` bytes at `ptr` to the tenant's log, as one line at `level`. The text is quoted, so that it cannot forge other lines or move a terminal's cursor, " +
			"and what is beyond the limit is cut. Lines that come too fast may be dropped; the log says so.",
		Errors: []Code{Invalid},
		Since:  "v1", Built: true,
	}},
	{OffLoop: true, Commands: true, Function: Function{
		Name:    "count",
		Params:  []Param{in("ptr"), val("len"), val64("n")},
		Results: i32,
		Doc: "Adds `n`, which may be negative, to the tenant's metric whose name is the `len` bytes at `ptr`. A metric starts at 0 with its first use. " +
			"The name is 1 to 64 of `a` to `z`, `0` to `9` and `_`, else INVALID. QUOTA says that the tenant has as many names as it may.",
		Errors: []Code{Invalid, Quota},
		Since:  "v1", Built: true,
	}},
	{TakesLong: true, Later: []string{"csa_open", "csa_closed"}, Function: Function{
		Name:    "connect",
		Params:  []Param{in("ptr"), val("len")},
		Results: i32,
		Doc: "Starts to connect to the address that is the `len` bytes at `ptr`, and returns the new connection's handle, which is positive. An address is `tcp://host:port`, `tls://host:port` (TLS, with the host's name " +
			"verified), `udp://host:port` or `unix:///path`; `?proxy=v1` or `?proxy=v2` behind it, but for `udp`, has the host send a PROXY protocol header first, with the addresses of the connection whose event is being served. " +
			"`csa_open` says that it is up, for `tls` after the handshake; `csa_closed` without one before says that it failed, and why. Until then `send` answers AGAIN, and `control` gives it up.\n\n" +
			"Over `udp` nobody is asked: it is up when there is a route. From then on each `send` is one datagram to the peer, and each of the peer's is one `csa_data`; nobody else's come. It ends with REFUSED when the peer's " +
			"machine says that nothing listens there, and else by `control` or the listener's `idle_timeout`, since a peer over UDP does not say that it goes. What is lost on the way, nobody says: a guest asks again by a timer.\n\n" +
			"Whom a tenant's handlers may dial is the operator's list. DENIED says that the address is not on it; a name that resolves to an address that it may not stand for is closed with DENIED later. " +
			"QUOTA says that the tenant dials, or has dialled, as much as it may, or that the instance has no handle left.",
		Errors: []Code{Invalid, Denied, Quota},
		Since:  "v1", Built: true,
	}},
	{TakesLong: true, Later: []string{"csa_secured"}, Function: Function{
		Name:    "makessl",
		Params:  []Param{val("conn"), val("role"), in("ptr"), val("len")},
		Results: i32,
		Doc: "Wraps `conn` in TLS from here on. `role` is the side of the handshake that the host takes: `TLS_SERVER`, with the listener's certificates and an empty name, or `TLS_CLIENT`, where the `len` bytes at `ptr` are the name that the " +
			"peer's certificate has to have. What was sent before leaves in the clear first; `send` answers AGAIN until `csa_secured` says how the handshake went. If it failed, the connection is being closed with TLS.\n\n" +
			"Bytes that came before are not taken for bytes that came after: if the guest has left some unconsumed when the event is over, the connection is closed with TLS. A guest must not go on with the rest of its window as if it had come later: " +
			"in `csa_data` it returns right after this.\n\n" +
			"DENIED says that the listener has no certificate, which `info` tells beforehand under `InfoCertificate`, CLOSED that the connection has finished in a direction, INVALID that it has TLS already or is over UDP, or that the role or the name is none.",
		Errors: []Code{Invalid, BadHandle, Again, Closed, Denied, Quota},
		Since:  "v1", Built: true,
	}},
	{TakesLong: true, Function: Function{
		Name:    "splice",
		Params:  []Param{val("a"), val("b")},
		Results: i32,
		Doc: "Joins two connections of the instance: from here on the host relays their bytes both ways, until both directions have ended, and no byte enters the guest again. " +
			"What the guest has sent, and what it has left unconsumed when the event is over, goes first. The handles are gone when this returns: nothing is heard of them any more, and no timer of theirs fires.\n\n" +
			"What the callback returns counts as ever: of what it was given, `csa_data` returns how much it has consumed, and only the other bytes go; an error closes both connections. If the callback traps, or is stopped, " +
			"both are closed as all others of the instance are, for nobody knows what it has consumed.\n\n" +
			"AGAIN says that one of them is not open yet, or not secured yet, CLOSED that one is over or the guest has finished sending on it, INVALID that they are the same, or that one is over UDP. A peer that has finished sending is no hindrance.",
		Errors: []Code{Invalid, BadHandle, Again, Closed},
		Since:  "v1", Built: true,
	}},
}

// GuestExports is the table of what the host calls in a guest. It must not be
// changed.
var GuestExports = []Export{
	{Function{
		Name:    "csa_window",
		Results: i64,
		Doc: "Called once in every instance, after `csa_start`. Returns `ptr << 32 | len`: where in its memory the guest wants incoming bytes, and how many at a time. " +
			"`len` is 4096 to 1048576 and the range has to lie inside the memory, else the instance is refused. The window stays there for good, also when the memory grows; " +
			"the guest must not use it for anything else.",
		Since: "v1", Built: true,
	}, true},
	{Function{
		Name:    "csa_start",
		Results: i32,
		Doc: "Called once in every instance, after WebAssembly's own start and, where it is exported, `_initialize`; the place to read the configuration. " +
			"There is no connection yet. A result below 0 refuses to start; `bulkhead check` reports it.",
		Since: "v1", Built: true,
	}, false},
	{Function{
		Name: "csa_reseed",
		Doc: "Called in an instance that was copied from a snapshot of one that had started, before its first event. All copies have the same memory, so what was drawn at random in `csa_start` or before is the same in all of them: " +
			"this is the place to draw seeds again. It is not called in an instance that has started by itself.",
		Since: "v1", Built: true,
	}, false},
	{Function{
		Name:    "csa_open",
		Params:  []Param{val("conn")},
		Results: i32,
		Doc: "A connection was accepted, or one that `connect` has started is up; where it has TLS from the start, after the handshake. A result below 0 closes it at once, and `csa_closed` follows with that code. " +
			"Without this export every connection is welcome.\n\n" +
			"Over UDP a connection is a peer, who comes with its first datagram: whoever sends from one address and port to one of this machine's.",
		Since: "v1", Built: true,
	}, false},
	{Function{
		Name:    "csa_data",
		Params:  []Param{val("conn"), val("len")},
		Results: i32,
		Doc: "`len` bytes from the peer, 1 to the length of the window, lie at the start of the window. Returns how many of them, counted from the first, the guest has consumed: 0 to `len`. " +
			"The host keeps the rest, and offers it again at the start of the window: with more behind it when more has come, after `csa_writable`, or after `receive(conn, 1)`. " +
			"A guest that consumes nothing of a full window is not given more until one of the last two.\n\n" +
			"What is left unconsumed is taken for the beginning of a message, of which the peer owes the rest at the listener's `min_rate`. A guest that leaves bytes for a reason of its own says `receive(conn, 0)` until it takes them.\n\n" +
			"Over UDP each datagram is one `csa_data`, whole: `len` is 0 for an empty one, and what is not consumed is gone. One that is longer than the window is lost, and counted. A guest that waits for `csa_writable` is given datagrams meanwhile.\n\n" +
			"A result below 0 closes the connection at once; `csa_closed` follows with that code. A result above `len`, or below 0 and no code, closes it with INVALID.",
		Since: "v1", Built: true,
	}, true},
	{Function{
		Name:   "csa_writable",
		Params: []Param{val("conn")},
		Doc: "The inbox has room again, after a `send` that took less than it was given. If the guest has left bytes unconsumed, they are offered again after this. " +
			"It comes once for any number of such sends.",
		Since: "v1", Built: true,
	}, false},
	{Function{
		Name:   "csa_secured",
		Params: []Param{val("conn"), val("status")},
		Doc:    "The handshake that `makessl` has begun is over: TLS is up (`status` 0), or has failed (below 0), and then the connection is being closed with that code.",
		Since:  "v1", Built: true,
	}, false},
	{Function{
		Name:   "csa_eof",
		Params: []Param{val("conn")},
		Doc: "The peer has finished sending, and everything it sent was offered. The guest may go on sending; it ends the connection with `control`. " +
			"Without this export the host says producerFinished in the guest's place: it sends what is in the inbox and closes. It never comes over UDP.",
		Since: "v1", Built: true,
	}, false},
	{Function{
		Name:   "csa_closed",
		Params: []Param{val("conn"), val("reason")},
		Doc: "The last word on this handle; for one that `connect` has returned it may be the first, too. The socket is closed already: nothing can be sent any more, and once this returns the handle is stale. `reason` is 0 for an orderly end, else the code that says why; " +
			"when the guest itself refused or closed it with a code, that code. It does not come for connections that are open when the host ends: after the time to drain nothing of a guest is called.",
		Since: "v1", Built: true,
	}, false},
	{Function{
		Name:   "csa_timer",
		Params: []Param{val("conn"), val("token")},
		Doc:    "A timer that `timer` has set has fired, and is gone. `conn` is -1 for the instance's own.",
		Since:  "v1", Built: true,
	}, false},
	{Function{
		Name:   "csa_message",
		Params: []Param{val("topic_len"), val("len")},
		Doc:    "A message that the instance subscribed to: the topic and, right behind it, the payload lie at the start of the window.",
		Since:  "v1",
	}, false},
	{Function{
		Name:  "csa_stop",
		Doc:   "The host is draining, or a reload has given the listener to other handlers: no new connection comes, and those that are left are closed when their time is over. Finish soon: when the host has drained, nothing is called any more, `csa_closed` included.",
		Since: "v1", Built: true,
	}, false},
}

// Signature writes a function as ABI.md does: "send(conn, ptr, len) -> i32".
// Parameters are i32 unless they say otherwise.
func (f *Function) Signature() string {
	s := f.Name + "("
	for i, p := range f.Params {
		if i > 0 {
			s += ", "
		}
		s += p.Name
		if p.Type != I32 {
			s += " " + p.Type.String()
		}
	}
	s += ")"
	for _, r := range f.Results {
		s += " -> " + r.String()
	}
	return s
}
