package conformance

// Case shows that sentences of ABI.md hold.
type Case struct {
	// In is the file that shows it, by its path from the root of the sources: one of conversations
	// (.talk), or a test in Go.
	In string
	// Name is that of the conversation there, or of the test.
	Name string
	// Shows are the sentences, as Sentences returns them.
	Shows []string
}

// Files of cases.
const (
	// hostTalk is played with guest/guest.wasm, whose clients share an instance.
	hostTalk = "abi/conformance/host.talk"
	// shortTalk is played likewise, and each send takes a few bytes only.
	shortTalk = "abi/conformance/short.talk"
	// copiesTalk is played with guest/guest.wasm, which each client has a copy of.
	copiesTalk = "abi/conformance/copies.talk"
	// guestsTalk is played with a handler on each guest library and script engine.
	guestsTalk = "sdk/testdata/everything.talk"

	modulesTest    = "abi/conformance/modules_test.go"
	limitsTest     = "abi/conformance/limits_test.go"
	transportsTest = "abi/conformance/transports_test.go"
)

// Cases is the table. It must not be changed.
var Cases = []Case{
	{modulesTest, "TestRequiredExports", []string{
		"It must export `csa_window` and `csa_data` and `memory`; every other callback is optional.",
		"Without this export every connection is accepted.",
		"Without this export the host says producerFinished in the guest's place: it sends what is in the inbox and closes.",
		"Other callbacks that are not exported are left out, and the others keep their order.",
	}},
	{modulesTest, "TestRefusedModules", []string{
		"The host refuses a guest before it runs if",
		"it exports one of these names with another signature, or as an imported function;",
		"it imports from `csa_v1` what is not below, or with another signature;",
		"it imports from any other module but `wasi_snapshot_preview1`, of which the host has what language runtimes need to start.",
	}},
	{modulesTest, "TestWindows", []string{
		"`len` must be 4096 to 1048576, and the range must lie inside the memory, else the instance is refused.",
		"It has 4096 to 1048576 bytes and stays where it is, also when the memory grows.",
		"| returns a nonsense window, or below 0 from `csa_start` | refuses the instance |",
	}},
	{modulesTest, "TestStartRefuses", []string{
		"With a result below 0 the guest refuses to start; `bulkhead check` reports it.",
		"| returns a nonsense window, or below 0 from `csa_start` | refuses the instance |",
	}},
	{modulesTest, "TestStartOrder", []string{
		"The host starts an instance with WebAssembly's own start function, then `_initialize` if it is exported, then `csa_start`, then `csa_window`.",
	}},
	{modulesTest, "TestOneConnection", []string{
		"| [`csa_one_connection()`](#csa_one_connection) | | v1 | never called |",
		"A listener with another `instance` than `\"connection\"` refuses the guest, since it would mix its clients up.",
		"The host never calls it: that it is there is what it says.",
	}},
	{modulesTest, "TestWithoutOpen", []string{
		"If a guest does not export `csa_open`, the first callback for a handle is `csa_data` or `csa_eof`, and there is none for a connection that ended before either.",
	}},

	{hostTalk, "handles", []string{
		"Handles are positive, and valid only in the instance that was given them: an instance cannot reach a connection that it was not told of.",
		"After `csa_closed` the handle is stale, and any use of it answers BAD_HANDLE.",
		"| uses them elsewhere | answers BAD_HANDLE or INVALID, and does nothing else |",
	}},
	{"plugins/instance_test.go", "TestHandles", []string{
		"The host does not reuse its value before 2048 later connections have used the same slot, so that a late use does not reach another connection.",
	}},
	{hostTalk, "values that make no sense", []string{
		"A negative length is INVALID.",
		"| uses them elsewhere | answers BAD_HANDLE or INVALID, and does nothing else |",
		"Any other `on` is INVALID.",
		"Any other `which` returns -1, INVALID.",
		"The name is 1 to 64 of `a` to `z`, `0` to `9` and `_`, else INVALID.",
		"Any other value is INVALID.",
	}},
	{hostTalk, "a range outside the memory", []string{
		"A range that does not lie inside the memory traps.",
		"| traps, or is stopped | discards the instance; its connections are closed |",
		"| names a range outside its memory | traps it |",
	}},
	{hostTalk, "a range across the end of the memory", []string{
		"A range that does not lie inside the memory traps.",
		"| names a range outside its memory | traps it |",
	}},
	{hostTalk, "bad data to send", []string{
		"BAD_HANDLE, and INVALID for a negative `len`, are *bad data to send*.",
		"With the listener's `on_bad_data = \"close\"`, the default, the host closes the connection whose event it is serving with INVALID, after the event.",
		"| uses a handle it does not have, or a negative length, in `send` | bad data to send: see `on_bad_data` there |",
	}},
	{"plugins/hostfuncs_test.go", "TestBadDataToSend", []string{
		"With `\"log\"` it only logs.",
	}},

	{hostTalk, "the window", []string{
		"The window is where the host puts incoming bytes: straight from the socket, always from the window's start.",
		"It has 4096 to 1048576 bytes and stays where it is, also when the memory grows.",
		"All connections of an instance share it.",
		"The window never moves, even when the memory grows; the guest must not use it for anything else.",
	}},
	{hostTalk, "unconsumed bytes come again", []string{
		"The guest returns how many it has consumed, counted from the first.",
		"with more behind it, when more has come and the window has room for it;",
		"after `receive(conn, 1)`.",
		"So a guest that sees half a message returns 0 and waits.",
	}},
	{hostTalk, "a full window", []string{
		"If a guest consumes nothing of a full window, the host does not read until one of the last two: a message must fit into the window, or be consumed in parts.",
		"A guest that consumes nothing of a full window is given no more until one of the last two.",
	}},
	{hostTalk, "at the end, unconsumed bytes come once more", []string{
		"When the peer has finished sending, the host offers unconsumed bytes once more, whatever `want` says, and again as long as the guest consumes some of them.",
		"Then it calls `csa_eof`.",
		"The peer has finished sending, and everything it sent was offered.",
		"An empty field means that this never happens.",
	}},
	{hostTalk, "at the end, a guest that has paused is waited for", []string{
		"If the guest left bytes because the inbox was full, or has paused reading, the host waits with both until there is room, or reading is resumed.",
		"While reading is paused, the host calls neither `csa_data` nor `csa_eof`, and the network makes the peer wait.",
	}},
	{hostTalk, "reading is paused and resumed", []string{
		"While reading is paused, the host calls neither `csa_data` nor `csa_eof`, and the network makes the peer wait.",
		"To resume offers unconsumed bytes again, even if reading was not paused, but not before this event is over.",
	}},
	{hostTalk, "so many bytes at least", []string{
		"Asks the host not to call `csa_data` for `conn` before `n` bytes are there, or the peer has finished sending.",
		"`n` is 1 to the length of the window, else INVALID.",
		"It stays in force until it is changed; a new connection has 1.",
		"If `n` unconsumed bytes are there already, they are offered again after this event.",
	}},

	{shortTalk, "room comes", []string{
		"Returns how many it took: at least 1 if `len` is above 0.",
		"Whenever `send` takes less than `len`, the host calls `csa_writable` once there is room again.",
		"The inbox has room again, after a `send` that took less than it was given.",
		"It is called once for any number of such sends.",
		"If `send` takes less than it was given (AGAIN: nothing), the host calls `csa_writable` once there is room.",
		"A guest that answers with bytes of its own must look at the result: the host does not keep what `send` has not taken.",
		"The guest may reuse the memory at once.",
	}},
	{shortTalk, "bytes left for want of room", []string{
		"after `csa_writable`, if the guest left them because it could not send;",
		"Unconsumed bytes are offered again after this.",
		"The other bytes come again after `csa_writable`.",
	}},
	{limitsTest, "TestNoRoomAtAll", []string{
		"AGAIN: there was no room at all.",
		"If `send` takes less than it was given (AGAIN: nothing), the host calls `csa_writable` once there is room.",
	}},
	{limitsTest, "TestNoMemoryForUnsentBytes", []string{
		"QUOTA: the tenant has no memory left for unsent bytes.",
	}},

	{hostTalk, "producerFinished", []string{
		"| `control(conn, 0)` producerFinished | is sent | is dropped | `csa_closed` with 0 |",
		"Tells the CSA of `conn`: 0 producerFinished (send what is in the inbox, then close), 1 shutdownMicroprocess (close now), 2 finish sending (send what is in the inbox, then half-close; receiving continues), 3 the handler has failed (close now with INVALID).",
		"To say the same twice does nothing and is no error, but the host counts each 3.",
		"A `len` of 0 takes nothing and returns 0, or CLOSED.",
		"CLOSED: the guest has said producerFinished or finish sending, or the peer is gone.",
	}},
	{hostTalk, "shutdownMicroprocess", []string{
		"| `control(conn, 1)` shutdownMicroprocess | is dropped | is dropped | `csa_closed` with 0, at once |",
		"A close cannot be undone.",
		"`csa_closed` always follows, after the event that is being served.",
		"The socket is closed already: nothing can be sent, and once this returns the handle is stale.",
	}},
	{hostTalk, "finish sending", []string{
		"| `control(conn, 2)` finish sending | is sent, then the half-close | is received | goes on to `csa_eof`, then `csa_closed` with 0 |",
		"To say the same twice does nothing and is no error, but the host counts each 3.",
		"CLOSED: the guest has said producerFinished or finish sending, or the peer is gone.",
	}},
	{hostTalk, "the handler has failed", []string{
		"| `control(conn, 3)` handler failed | is dropped | is dropped | `csa_closed` with INVALID, at once |",
		"It counts one for -1 as `conn`, too, and closes nothing.",
	}},
	{"plugins/failed_test.go", "TestHandlerFailed", []string{
		"To say the same twice does nothing and is no error, but the host counts each 3.",
		"| `HandlerFailed` | `CSA_HANDLER_FAILED` | 3 | The guest has met an error that it does not deal with, such as one that a script does not catch. The host counts each, and closes as for ShutdownMicroprocess, but with INVALID. For conn -1 it counts only: the error was no connection's. |",
	}},
	{hostTalk, "a code from csa_data", []string{
		"| a code below 0, from `csa_open` or `csa_data` | is dropped | is dropped | `csa_closed` with that code, at once |",
		"| returns nonsense from `csa_data` | closes that connection with INVALID |",
		"A result below 0 closes the connection at once; `csa_closed` follows with that code.",
		"A result above `len`, or one below 0 that is no code, closes it with INVALID.",
		"`reason` is 0 for an orderly end, else a code; if the guest refused or closed the connection with a code, it is that code.",
	}},
	{hostTalk, "a code from csa_open", []string{
		"| a code below 0, from `csa_open` or `csa_data` | is dropped | is dropped | `csa_closed` with that code, at once |",
		"A result below 0 closes it at once, and `csa_closed` follows with that code.",
		"The host calls `csa_closed` exactly once for every handle that the guest was told of, also if the guest itself closed or refused it, and never inside another callback.",
	}},
	{hostTalk, "both directions end", []string{
		"When both directions are finished the connection closes by itself.",
		"The guest may still send; it ends the connection with `control`.",
	}},
	{hostTalk, "the peer resets the connection", []string{
		"The host calls `csa_closed` exactly once for every handle that the guest was told of, also if the guest itself closed or refused it, and never inside another callback.",
	}},
	{limitsTest, "TestUnsentBytesAreDropped", []string{
		"| `control(conn, 1)` shutdownMicroprocess | is dropped | is dropped | `csa_closed` with 0, at once |",
		"| `control(conn, 3)` handler failed | is dropped | is dropped | `csa_closed` with INVALID, at once |",
		"| a code below 0, from `csa_open` or `csa_data` | is dropped | is dropped | `csa_closed` with that code, at once |",
	}},
	{limitsTest, "TestLastBytesInTime", []string{
		"A connection that is closing and cannot send its last bytes is closed with TIMEOUT after the listener's `linger`.",
	}},
	{hostTalk, "callbacks come after each other", []string{
		"The host calls `csa_closed` exactly once for every handle that the guest was told of, also if the guest itself closed or refused it, and never inside another callback.",
		"The host never enters a callback while another one of the same instance runs; callbacks that a host function causes come after the callback that called it.",
	}},
	{"plugins/events_test.go", "TestLegalOrder", []string{
		"An empty field means that this never happens.",
	}},
	{limitsTest, "TestACallbackThatIsLong", []string{
		"A callback must be short: the other connections of its instance wait for it.",
		"The host stops one that takes longer than `event_timeout`, with its instance.",
		"| traps, or is stopped | discards the instance; its connections are closed |",
	}},

	{hostTalk, "timers", []string{
		"A callback cannot wait: a guest sets a timer and returns.",
		"Sets a timer: the host calls `csa_timer(conn, token)` once, after `ms` milliseconds, at least 1.",
		"A negative `ms` cancels the timer, and is no error if there is none.",
		"There is one timer for each `conn` and `token`: to set it again moves it.",
		"A `conn` of -1 is the instance itself.",
		"A connection's timers end with it.",
		"A timer set by `timer` has fired, and is gone.",
	}},
	{"plugins/results_test.go", "TestResults", []string{
		"`status` is 0, or a code below 0 that says why it was not done; TIMEOUT says that the host does not know whether it was.",
		"The function says what `revision` and the `len` bytes at the start of the window mean; they are 0 where it says nothing of them, and below a `status` of 0.",
	}},
	{"plugins/results_test.go", "TestResultsWaitForCalls", []string{
		"It comes once for each such call, after the callback in which the call was made.",
		"The host never enters a callback while another one of the same instance runs; callbacks that a host function causes come after the callback that called it.",
	}},
	{"plugins/results_test.go", "TestResultsForNobody", []string{
		"Without this export the guest does not hear of results.",
	}},
	{hostTalk, "as many timers as a handle may have", []string{
		"QUOTA: the handle has as many timers as it may have.",
	}},
	{hostTalk, "clocks", []string{
		"Returns the time of clock `which` in nanoseconds: 0 the time of day, 1 a monotonic one.",
		"| `ClockMonotonic` | `CSA_CLOCK_MONOTONIC` | 1 | Counts nanoseconds from an arbitrary start and never goes back. Timers use it. |",
	}},
	{hostTalk, "random bytes", []string{
		"Fills `len` bytes at `ptr` with random bytes fit for keys.",
	}},
	{hostTalk, "the log", []string{
		"Writes `len` bytes at `ptr` to the tenant's log, as one line at `level`.",
	}},
	{"host/guestlog_test.go", "TestHandlersSay", []string{
		"The text is quoted, so that it cannot forge other lines or move a terminal's cursor, and what exceeds the limit is cut.",
	}},
	{"plugins/hostfuncs_test.go", "TestLogLines", []string{
		"The text is quoted, so that it cannot forge other lines or move a terminal's cursor, and what exceeds the limit is cut.",
		"Lines above the tenant's rate are dropped; the log says how many.",
	}},
	{hostTalk, "metrics", []string{
		"Adds `n`, which may be negative, to the tenant's metric whose name is the `len` bytes at `ptr`.",
		"A metric starts at 0 with its first use.",
	}},
	{limitsTest, "TestMetricsOfATenant", []string{
		"QUOTA: the tenant has as many names as it may have.",
	}},
	{hostTalk, "the configuration", []string{
		"Copies the listener's `config` table, as a JSON object, to `ptr`, at most `cap` bytes of it, and returns its whole length; a `cap` of 0 asks for the length alone.",
	}},
	{hostTalk, "no configuration", []string{
		"For a listener without the table it is `{}`.",
	}},
	{hostTalk, "what is known of a connection", []string{
		"Copies what is known about `conn` under `key` to `ptr`, at most `cap` bytes of it, and returns its whole length; a `cap` of 0 asks for the length alone.",
	}},

	{hostTalk, "dialling", []string{
		"Starts to connect to the address that is the `len` bytes at `ptr`, and returns the new connection's handle, which is positive.",
		"The host calls `csa_open` when the connection is up, for `tls` after the handshake.",
		"Until then `send` answers AGAIN, and `control` cancels the attempt.",
		"Whenever `send` takes less than `len`, the host calls `csa_writable` once there is room again.",
		"AGAIN: its connection is not open yet.",
		"AGAIN: one of them is not open yet, or its TLS handshake is not over.",
	}},
	{hostTalk, "a dial that fails", []string{
		"If it fails, the host calls `csa_closed` with the reason, and no `csa_open` before.",
	}},
	{limitsTest, "TestADialThatIsGivenUp", []string{
		"Until then `send` answers AGAIN, and `control` cancels the attempt.",
		"The last call about this handle; for one that `connect` has returned it may be the first, too.",
	}},
	{hostTalk, "whom it may not dial", []string{
		"A name that resolves to an address that is not allowed is closed with DENIED later.",
	}},
	{limitsTest, "TestDialsOfATenant", []string{
		"DENIED: the address is not on the list.",
		"QUOTA: the tenant has as many dials under way, or dialled connections, as it may have, or the instance has no handle left.",
	}},
	{hostTalk, "addresses that are none", []string{
		"An address is `tcp://host:port`, `tls://host:port` (TLS, with the host's name verified), `udp://host:port` or `unix:///path`.",
	}},

	{hostTalk, "TLS begins", []string{
		"`role` is the host's side of the handshake: `TLS_SERVER`, with the listener's certificates and an empty name, or `TLS_CLIENT`, with the name that the peer's certificate must have in the `len` bytes at `ptr`.",
		"What the guest sent before leaves first, unencrypted.",
		"`send` answers AGAIN until the host calls `csa_secured` with the result of the handshake.",
		"INVALID: it has TLS already, or is over UDP or WebSocket, or the role or the name is not valid.",
		"AGAIN: one of them is not open yet, or its TLS handshake is not over.",
		"| `InfoCertificate` | `CSA_INFO_CERTIFICATE` | 12 | \"yes\" where makessl may take the role TLSServer: the listener has a certificate. It is empty where makessl would be DENIED, and over UDP and WebSocket. It does not say whether the connection has TLS. |",
	}},
	{hostTalk, "TLS that fails", []string{
		"If it failed, the host closes the connection with TLS.",
		"TLS is up (`status` 0), or the handshake failed (below 0), and the host is closing the connection with that code.",
	}},
	{hostTalk, "bytes in the clear before TLS", []string{
		"Bytes that were received in the clear must not be taken for encrypted ones: if the guest has left some unconsumed when the event is over, the host closes the connection with TLS.",
	}},
	{hostTalk, "no certificate", []string{
		"DENIED: the listener has no certificate; `info` says so beforehand, under `InfoCertificate`.",
		"| `InfoCertificate` | `CSA_INFO_CERTIFICATE` | 12 | \"yes\" where makessl may take the role TLSServer: the listener has a certificate. It is empty where makessl would be DENIED, and over UDP and WebSocket. It does not say whether the connection has TLS. |",
	}},
	{hostTalk, "TLS with whom it has dialled", []string{
		"`role` is the host's side of the handshake: `TLS_SERVER`, with the listener's certificates and an empty name, or `TLS_CLIENT`, with the name that the peer's certificate must have in the `len` bytes at `ptr`.",
	}},
	{"host/secure_test.go", "TestTLSClientRole", []string{
		"`role` is the host's side of the handshake: `TLS_SERVER`, with the listener's certificates and an empty name, or `TLS_CLIENT`, with the name that the peer's certificate must have in the `len` bytes at `ptr`.",
	}},
	{hostTalk, "a direction has ended before TLS", []string{
		"CLOSED: the connection has finished in a direction.",
	}},

	{hostTalk, "relaying", []string{
		"Joins two connections of the instance: the host relays their bytes both ways until both directions have ended, and the guest sees none of them.",
		"What the guest has sent, and what it has left unconsumed when the event is over, goes first.",
		"The handles are gone when this returns: no callback names them again, and their timers do not fire.",
		"INVALID: they are the same, or one is over UDP or WebSocket.",
		"The result of the callback counts as always: `csa_data` returns how many bytes it has consumed, and only the others are relayed; an error closes both connections.",
	}},
	{hostTalk, "an error behind the relaying", []string{
		"The result of the callback counts as always: `csa_data` returns how many bytes it has consumed, and only the others are relayed; an error closes both connections.",
	}},
	{hostTalk, "a trap behind the relaying", []string{
		"If the callback traps or is stopped, the host closes both with all others of the instance, because it cannot know what was consumed.",
	}},
	{hostTalk, "relaying what has ended", []string{
		"CLOSED: one has ended, or the guest has finished sending on it.",
		"It does not matter whether a peer has finished sending.",
	}},

	{copiesTalk, "a copy", []string{
		"Called in an instance that was copied from a snapshot, before its first event.",
	}},
	{copiesTalk, "copies know nothing of each other", []string{
		"The listener's `instance` decides who shares an instance: `\"connection\"`, each connection has its own; `\"loop\"`, the listener's connections on one CPU share one; `\"listener\"`, all of them share one.",
		"Handles are positive, and valid only in the instance that was given them: an instance cannot reach a connection that it was not told of.",
	}},
	{limitsTest, "TestTheHostDrains", []string{
		"The host is draining, or a reload has replaced this listener's handlers.",
	}},

	{transportsTest, "TestDialledDatagrams", []string{
		"Over UDP the `len` bytes are one datagram.",
		"It is taken whole or not at all; a `len` of 0 sends an empty one and returns 0.",
	}},
	{transportsTest, "TestDatagrams", []string{
		"Over UDP the `len` bytes are one datagram.",
		"It is taken whole or not at all; a `len` of 0 sends an empty one and returns 0.",
		"INVALID also means that it is longer than a datagram can be (65507 bytes over IPv4, 65527 over IPv6); this is not bad data to send.",
		"Over UDP each datagram is one `csa_data`, whole: `len` is 0 for an empty one, and what the guest does not consume is lost.",
		"Over UDP it means nothing.",
		"INVALID: it has TLS already, or is over UDP or WebSocket, or the role or the name is not valid.",
		"INVALID: they are the same, or one is over UDP or WebSocket.",
		"It opens with the peer's first datagram.",
		"It is never called over UDP.",
		"After a close its next datagram opens a new connection.",
		"| `InfoCertificate` | `CSA_INFO_CERTIFICATE` | 12 | \"yes\" where makessl may take the role TLSServer: the listener has a certificate. It is empty where makessl would be DENIED, and over UDP and WebSocket. It does not say whether the connection has TLS. |",
	}},
	{"host/udp_dial_test.go", "TestConnectOverUDPRefused", []string{
		"It ends with REFUSED if the peer's machine answers that nothing listens there.",
		"DENIED: the address is not on the list.",
		"A name that resolves to an address that is not allowed is closed with DENIED later.",
	}},
	{"host/udp_dial_test.go", "TestPeersDialledOverUDPAreCounted", []string{
		"QUOTA: the tenant has as many dials under way, or dialled connections, as it may have, or the instance has no handle left.",
	}},
	{transportsTest, "TestMessages", []string{
		"Over WebSocket each message is one `csa_data`, whole, if the guest has left no bytes of an earlier one: `len` is 0 for an empty one.",
		"What a guest leaves while it waits for `csa_writable` or `receive(conn, 1)` comes again by itself; else it comes with the next message behind it, as on a stream.",
		"Over WebSocket the `len` bytes are one message, which is taken whole or not at all (AGAIN); a `len` of 0 sends an empty one.",
		"What is longer than the listener's `inbox` is taken in parts, each a message.",
		"INVALID: it has TLS already, or is over UDP or WebSocket, or the role or the name is not valid.",
		"INVALID: they are the same, or one is over UDP or WebSocket.",
		"The peer's close frame is the end of what it sends: `csa_eof` follows.",
	}},
	{transportsTest, "TestMessagesAreTakenWhole", []string{
		"Over WebSocket the `len` bytes are one message, which is taken whole or not at all (AGAIN); a `len` of 0 sends an empty one.",
	}},
	{transportsTest, "TestAMessageThatIsTooLong", []string{
		"A message that is longer than the window ends the connection.",
	}},

	{guestsTalk, "messages of all kinds", []string{
		"If a guest consumes nothing of a full window, the host does not read until one of the last two: a message must fit into the window, or be consumed in parts.",
		"One that cannot answer because the inbox is full returns how much it has handled.",
		"A guest that answers with bytes of its own must look at the result: the host does not keep what `send` has not taken.",
		"The window never moves, even when the memory grows; the guest must not use it for anything else.",
	}},
	{guestsTalk, "a line that is too long", []string{
		"If a guest consumes nothing of a full window, the host does not read until one of the last two: a message must fit into the window, or be consumed in parts.",
	}},
	{guestsTalk, "TLS begins in the middle", []string{
		"A guest must not treat what is left in its window as if it had come later: in `csa_data` it returns right after this call.",
	}},
	{guestsTalk, "timers", []string{
		"A callback cannot wait: a guest sets a timer and returns.",
	}},
	{guestsTalk, "an error of a callback is the reason", []string{
		"A result below 0 closes the connection at once; `csa_closed` follows with that code.",
	}},
	{guestsTalk, "two do not mix", []string{
		"All connections of an instance share it.",
	}},
}
