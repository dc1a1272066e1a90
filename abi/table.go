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
		Doc: "Puts bytes into the inbox of `conn`: the `len` bytes at `ptr`, or as many of them as there is room for. Returns how many it took: " +
			"at least 1 if `len` is above 0. The guest may reuse the memory at once.\n\n" +
			"AGAIN: there was no room at all. Whenever `send` takes less than `len`, the host calls `csa_writable` once there is room again. " +
			"A `len` of 0 takes nothing and returns 0, or CLOSED.\n\n" +
			"CLOSED: the guest has said producerFinished or finish sending, or the peer is gone. " +
			"QUOTA: the tenant has no memory left for unsent bytes.\n\n" +
			"Over UDP the `len` bytes are one datagram. It is taken whole or not at all; a `len` of 0 sends an empty one and returns 0. INVALID also means that it is longer than a datagram can be " +
			"(65507 bytes over IPv4, 65527 over IPv6); this is not bad data to send. A datagram that was taken may still be lost.\n\n" +
			"Over WebSocket the `len` bytes are one message, which is taken whole or not at all (AGAIN); a `len` of 0 sends an empty one. What is longer than the listener's `inbox` is taken in parts, each a message. " +
			"It is sent as text or as bytes as the listener's `send_as` says.\n\n" +
			"BAD_HANDLE, and INVALID for a negative `len`, are *bad data to send*. With the listener's `on_bad_data = \"close\"`, the default, " +
			"the host closes the connection whose event it is serving with INVALID, after the event. With `\"log\"` it only logs.",
		Errors: []Code{Invalid, BadHandle, Again, Closed, Quota},
		Since:  "v1", Built: true,
	}},
	{Later: []string{"csa_closed"}, Function: Function{
		Name:    "control",
		Params:  []Param{val("conn"), val("what")},
		Results: i32,
		Doc: "Tells the CSA of `conn`: 0 producerFinished (send what is in the inbox, then close), 1 shutdownMicroprocess (close now), " +
			"2 finish sending (send what is in the inbox, then half-close; receiving continues), " +
			"3 the handler has failed (close now with INVALID). To say the same twice does nothing and is no error, but the host counts each 3. It counts one for -1 as `conn`, too, and closes nothing. " +
			"A close cannot be undone. `csa_closed` always follows, after the event that is being served.\n\n" +
			"Over UDP the peer does not notice. After a close its next datagram opens a new connection. After 2, only the idle timeout ends the connection.\n\n" +
			"Over WebSocket the end of what is sent is a close frame, after which a browser sends no more. The peer's close frame is the end of what it sends: `csa_eof` follows.",
		Errors: []Code{Invalid, BadHandle},
		Since:  "v1", Built: true,
	}},
	{Function: Function{
		Name:    "receive",
		Params:  []Param{val("conn"), val("on")},
		Results: i32,
		Doc: "Pauses (0) or resumes (1) reading from `conn`. While reading is paused, the host calls neither `csa_data` nor `csa_eof`, and the network makes the peer wait. " +
			"To resume offers unconsumed bytes again, even if reading was not paused, but not before this event is over. Any other `on` is INVALID.\n\n" +
			"Nothing makes a peer over UDP wait. While reading is paused, some of its datagrams are kept in order (`waiting_datagrams`, `waiting_bytes`), and the others are lost. The same happens during a long call of the instance.",
		Errors: []Code{Invalid, BadHandle},
		Since:  "v1", Built: true,
	}},
	{Function: Function{
		Name:    "want",
		Params:  []Param{val("conn"), val("n")},
		Results: i32,
		Doc: "Asks the host not to call `csa_data` for `conn` before `n` bytes are there, or the peer has finished sending. " +
			"`n` is 1 to the length of the window, else INVALID. It stays in force until it is changed; a new connection has 1. " +
			"If `n` unconsumed bytes are there already, they are offered again after this event. Over UDP it means nothing.",
		Errors: []Code{Invalid, BadHandle},
		Since:  "v1", Built: true,
	}},
	{TakesLong: true, Function: Function{
		Name:    "info",
		Params:  []Param{val("conn"), val("key"), out("ptr"), val("cap")},
		Results: i32,
		Doc: "Copies what is known about `conn` under `key` to `ptr`, at most `cap` bytes of it, and returns its whole length; a `cap` of 0 asks for the length alone. " +
			"The keys are below; but for `InfoMessage`, their values do not change from `csa_open` on; before that they may be empty.",
		Errors: []Code{Invalid, BadHandle},
		Since:  "v1", Built: true,
	}},
	{OffLoop: true, TakesLong: true, Commands: true, Function: Function{
		Name:    "config",
		Params:  []Param{out("ptr"), val("cap")},
		Results: i32,
		Doc: "Copies the listener's `config` table, as a JSON object, to `ptr`, at most `cap` bytes of it, and returns its whole length; a `cap` of 0 asks for the length alone. " +
			"For a listener without the table it is `{}`. It does not change while the instance lives.",
		Errors: []Code{Invalid},
		Since:  "v1", Built: true,
	}},
	{Later: []string{"csa_timer"}, Function: Function{
		Name:    "timer",
		Params:  []Param{val("conn"), val("token"), val("ms")},
		Results: i32,
		Doc: "Sets a timer: the host calls `csa_timer(conn, token)` once, after `ms` milliseconds, at least 1. A negative `ms` cancels the timer, and is no error if there is none. " +
			"`token` is any number of the guest's choice. There is one timer for each `conn` and `token`: to set it again moves it. " +
			"A `conn` of -1 is the instance itself. A connection's timers end with it.\n\n" +
			"QUOTA: the handle has as many timers as it may have. AGAIN: its connection is not open yet.",
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
			"and what exceeds the limit is cut. Lines above the tenant's rate are dropped; the log says how many.",
		Errors: []Code{Invalid},
		Since:  "v1", Built: true,
	}},
	{OffLoop: true, Commands: true, Function: Function{
		Name:    "count",
		Params:  []Param{in("ptr"), val("len"), val64("n")},
		Results: i32,
		Doc: "Adds `n`, which may be negative, to the tenant's metric whose name is the `len` bytes at `ptr`. A metric starts at 0 with its first use. " +
			"The name is 1 to 64 of `a` to `z`, `0` to `9` and `_`, else INVALID. QUOTA: the tenant has as many names as it may have.",
		Errors: []Code{Invalid, Quota},
		Since:  "v1", Built: true,
	}},
	{TakesLong: true, Later: []string{"csa_open", "csa_closed"}, Function: Function{
		Name:    "connect",
		Params:  []Param{in("ptr"), val("len")},
		Results: i32,
		Doc: "Starts to connect to the address that is the `len` bytes at `ptr`, and returns the new connection's handle, which is positive. An address is `tcp://host:port`, `tls://host:port` (TLS, with the host's name " +
			"verified), `udp://host:port` or `unix:///path`. With `?proxy=v1` or `?proxy=v2` at its end, except for `udp`, the host sends a PROXY protocol header first, with the addresses of the connection whose event it is serving. " +
			"The host calls `csa_open` when the connection is up, for `tls` after the handshake. If it fails, the host calls `csa_closed` with the reason, and no `csa_open` before. Until then `send` answers AGAIN, and `control` cancels the attempt.\n\n" +
			"Over `udp` no packet is needed: the connection is up if there is a route. From then on each `send` is one datagram to the peer, and each datagram of the peer is one `csa_data`; datagrams of others do not arrive. It ends with REFUSED if the peer's " +
			"machine answers that nothing listens there. Otherwise it ends by `control` or the listener's `idle_timeout`, since a peer over UDP does not say when it leaves. Nothing reports lost datagrams: a guest sends again by a timer.\n\n" +
			"The operator lists the addresses that a tenant's handlers may dial. DENIED: the address is not on the list. A name that resolves to an address that is not allowed is closed with DENIED later. " +
			"QUOTA: the tenant has as many dials under way, or dialled connections, as it may have, or the instance has no handle left.",
		Errors: []Code{Invalid, Denied, Quota},
		Since:  "v1", Built: true,
	}},
	{TakesLong: true, Later: []string{"csa_secured"}, Function: Function{
		Name:    "makessl",
		Params:  []Param{val("conn"), val("role"), in("ptr"), val("len")},
		Results: i32,
		Doc: "Starts TLS on `conn`. `role` is the host's side of the handshake: `TLS_SERVER`, with the listener's certificates and an empty name, or `TLS_CLIENT`, with the name that the " +
			"peer's certificate must have in the `len` bytes at `ptr`. What the guest sent before leaves first, unencrypted. `send` answers AGAIN until the host calls `csa_secured` with the result of the handshake. If it failed, the host closes the connection with TLS.\n\n" +
			"Bytes that were received in the clear must not be taken for encrypted ones: if the guest has left some unconsumed when the event is over, the host closes the connection with TLS. A guest must not treat what is left in its window as if it had come later: " +
			"in `csa_data` it returns right after this call.\n\n" +
			"DENIED: the listener has no certificate; `info` says so beforehand, under `InfoCertificate`. CLOSED: the connection has finished in a direction. INVALID: it has TLS already, or is over UDP or WebSocket, or the role or the name is not valid.",
		Errors: []Code{Invalid, BadHandle, Again, Closed, Denied, Quota},
		Since:  "v1", Built: true,
	}},
	{TakesLong: true, Function: Function{
		Name:    "splice",
		Params:  []Param{val("a"), val("b")},
		Results: i32,
		Doc: "Joins two connections of the instance: the host relays their bytes both ways until both directions have ended, and the guest sees none of them. " +
			"What the guest has sent, and what it has left unconsumed when the event is over, goes first. The handles are gone when this returns: no callback names them again, and their timers do not fire.\n\n" +
			"The result of the callback counts as always: `csa_data` returns how many bytes it has consumed, and only the others are relayed; an error closes both connections. If the callback traps or is stopped, " +
			"the host closes both with all others of the instance, because it cannot know what was consumed.\n\n" +
			"AGAIN: one of them is not open yet, or its TLS handshake is not over. CLOSED: one has ended, or the guest has finished sending on it. INVALID: they are the same, or one is over UDP or WebSocket. It does not matter whether a peer has finished sending.",
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
			"`len` must be 4096 to 1048576, and the range must lie inside the memory, else the instance is refused. The window never moves, even when the memory grows; " +
			"the guest must not use it for anything else.",
		Since: "v1", Built: true,
	}, true},
	{Function{
		Name:    "csa_start",
		Results: i32,
		Doc: "Called once in every instance, after WebAssembly's own start and, where it is exported, `_initialize`; the place to read the configuration. " +
			"There is no connection yet. With a result below 0 the guest refuses to start; `bulkhead check` reports it.",
		Since: "v1", Built: true,
	}, false},
	{Function{
		Name: "csa_reseed",
		Doc: "Called in an instance that was copied from a snapshot, before its first event. All copies begin with the same memory, so random numbers drawn in `csa_start` or before are the same in all of them: " +
			"draw seeds again here. It is not called in an instance that has started by itself.",
		Since: "v1", Built: true,
	}, false},
	{Function{
		Name:    "csa_open",
		Params:  []Param{val("conn")},
		Results: i32,
		Doc: "A connection was accepted, or one that `connect` has started is up; with TLS from the start, after the handshake. A result below 0 closes it at once, and `csa_closed` follows with that code. " +
			"Without this export every connection is accepted.\n\n" +
			"Over UDP a connection is a peer: whoever sends from one address and port to one of this machine's. It opens with the peer's first datagram.",
		Since: "v1", Built: true,
	}, false},
	{Function{
		Name:    "csa_data",
		Params:  []Param{val("conn"), val("len")},
		Results: i32,
		Doc: "`len` bytes from the peer, 1 to the length of the window, lie at the start of the window. Returns how many of them, counted from the first, the guest has consumed: 0 to `len`. " +
			"The host keeps the others, and offers them again at the start of the window: with more bytes when more have come, after `csa_writable`, or after `receive(conn, 1)`. " +
			"A guest that consumes nothing of a full window is given no more until one of the last two.\n\n" +
			"The host takes unconsumed bytes for the beginning of a message, and expects the peer to send the rest at the listener's `min_rate`. A guest that leaves bytes for a reason of its own calls `receive(conn, 0)` until it takes them.\n\n" +
			"Over UDP each datagram is one `csa_data`, whole: `len` is 0 for an empty one, and what the guest does not consume is lost. A datagram that is longer than the window is lost, and counted. A guest that waits for `csa_writable` is given datagrams meanwhile.\n\n" +
			"Over WebSocket each message is one `csa_data`, whole, if the guest has left no bytes of an earlier one: `len` is 0 for an empty one. What a guest leaves while it waits for `csa_writable` or `receive(conn, 1)` comes again by itself; else it comes with the next message behind it, as on a stream. " +
			"A message that is longer than the window ends the connection.\n\n" +
			"A result below 0 closes the connection at once; `csa_closed` follows with that code. A result above `len`, or one below 0 that is no code, closes it with INVALID.",
		Since: "v1", Built: true,
	}, true},
	{Function{
		Name:   "csa_writable",
		Params: []Param{val("conn")},
		Doc: "The inbox has room again, after a `send` that took less than it was given. Unconsumed bytes are offered again after this. " +
			"It is called once for any number of such sends.",
		Since: "v1", Built: true,
	}, false},
	{Function{
		Name:   "csa_secured",
		Params: []Param{val("conn"), val("status")},
		Doc:    "The handshake that `makessl` has started is over. TLS is up (`status` 0), or the handshake failed (below 0), and the host is closing the connection with that code.",
		Since:  "v1", Built: true,
	}, false},
	{Function{
		Name:   "csa_eof",
		Params: []Param{val("conn")},
		Doc: "The peer has finished sending, and everything it sent was offered. The guest may still send; it ends the connection with `control`. " +
			"Without this export the host says producerFinished in the guest's place: it sends what is in the inbox and closes. It is never called over UDP.",
		Since: "v1", Built: true,
	}, false},
	{Function{
		Name:   "csa_closed",
		Params: []Param{val("conn"), val("reason")},
		Doc: "The last call about this handle; for one that `connect` has returned it may be the first, too. The socket is closed already: nothing can be sent, and once this returns the handle is stale. `reason` is 0 for an orderly end, else a code; " +
			"if the guest refused or closed the connection with a code, it is that code. It is not called for connections that are open when the host ends: after `drain` the host calls no guest.",
		Since: "v1", Built: true,
	}, false},
	{Function{
		Name:   "csa_timer",
		Params: []Param{val("conn"), val("token")},
		Doc:    "A timer set by `timer` has fired, and is gone. `conn` is -1 for the instance's own.",
		Since:  "v1", Built: true,
	}, false},
	{Function{
		Name:   "csa_message",
		Params: []Param{val("topic_len"), val("len")},
		Doc:    "A message that the instance subscribed to: the topic and, right behind it, the payload lie at the start of the window.",
		Since:  "v1",
	}, false},
	{Function{
		Name:   "csa_result",
		Params: []Param{val("token"), val("status"), val64("revision"), val("len")},
		Doc: "What a host function has begun is over: one that was given `token` and has answered 0. `status` is 0, or a code below 0 that says why it was not done; TIMEOUT says that the host does not know whether it was. " +
			"The function says what `revision` and the `len` bytes at the start of the window mean; they are 0 where it says nothing of them, and below a `status` of 0. " +
			"The bytes are valid during the callback.\n\n" +
			"It comes once for each such call, after the callback in which the call was made. The host does not look at the token: a guest that has two operations under way tells them apart by giving them two tokens. " +
			"It is of no connection, and comes to an instance that has none any more, as long as that lives. Without this export the guest does not hear of results.",
		Since: "v1", Built: true,
	}, false},
	{Function{
		Name:  "csa_stop",
		Doc:   "The host is draining, or a reload has replaced this listener's handlers. No new connection comes, and the host closes the others when their time is over. Finish soon: after `drain` the host calls no guest, not even `csa_closed`.",
		Since: "v1", Built: true,
	}, false},
}

// Declarations is the table of what a guest may export to say something of itself. The host never
// calls these. It must not be changed.
var Declarations = []Function{
	{
		Name: "csa_one_connection",
		Doc: "Says that the guest keeps the state of one connection where all of its connections would find it, such as in a static variable. " +
			"Each connection then has to have an instance of its own. A listener with another `instance` than `\"connection\"` refuses the guest, since it would mix its clients up.",
		Since: "v1", Built: true,
	},
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
