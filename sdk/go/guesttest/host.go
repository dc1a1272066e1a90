package guesttest

import (
	"math/rand/v2"
	"slices"
	"testing"

	"bulkhead/sdk/go"
	"bulkhead/sdk/go/internal/seam"
)

// DefaultInbox is the size of an inbox when Options does not say, in bytes.
const DefaultInbox = 64 << 10

// Options says what kind of host there is. The zero value is a good one.
type Options struct {
	// Config is the listener's config table as JSON; "": {}.
	Config string
	// Listener and Tenant are names; "": "test".
	Listener, Tenant string
	// Inbox is how many bytes a connection holds that its peer has not
	// received; 0 or less: DefaultInbox.
	Inbox int
	// Certificate says that the listener has one, so that MakeSSL can take the role
	// TLSServer. Without it that is Denied, as it is on the host.
	Certificate bool
	// MayDial says what Connect answers for an address that is one: guest.OK, guest.Denied or
	// guest.Quota. Nil: everything may be dialled.
	MayDial func(address string) guest.Code
}

// Line is one line in the log.
type Line struct {
	Level guest.Level
	Text  string
}

// Host is a host in memory, with one instance.
type Host struct {
	t       testing.TB
	options Options
	window  []byte

	peers      []*Peer // in the order they came; the closed ones leave
	dials      []*Dial
	lastHandle int32
	started    bool
	inside     bool // a callback runs

	now    int64
	timers []timer
	random *rand.ChaCha8

	logs   []Line
	counts map[string]int64
}

// New starts an instance with this handler, in place of the one that is
// registered, until the test ends. The test fails when it does not start.
func New(t testing.TB, h guest.Handler, o Options) *Host {
	t.Helper()
	host, code := start(t, h, o)
	if code != guest.OK {
		t.Fatalf("guesttest: the handler refuses to start: %v; its log: %v", code, host.logs)
	}
	return host
}

// Refused starts an instance that is expected to refuse, and returns its code
// and what it has logged. The code is guest.OK if it starts after all.
func Refused(t testing.TB, h guest.Handler, o Options) (guest.Code, []Line) {
	t.Helper()
	host, code := start(t, h, o)
	return code, host.logs
}

func start(t testing.TB, h guest.Handler, o Options) (*Host, guest.Code) {
	t.Helper()
	if seam.Swap == nil {
		t.Fatal("guesttest: a handler cannot be tested inside a sandbox; run the tests without GOOS=wasip1")
	}
	if o.Config == "" {
		o.Config = "{}"
	}
	if o.Listener == "" {
		o.Listener = "test"
	}
	if o.Tenant == "" {
		o.Tenant = "test"
	}
	if o.Inbox <= 0 {
		o.Inbox = DefaultInbox
	}
	host := &Host{t: t, options: o, now: 1e9, random: rand.NewChaCha8([32]byte{1}), counts: make(map[string]int64)}
	restore, before := seam.Swap(h), seam.Host
	seam.Host = functions{host}
	t.Cleanup(func() {
		seam.Host = before
		restore()
	})
	var code int32
	host.call(func() { code = seam.Start() })
	if code < 0 {
		return host, guest.Code(code)
	}
	host.started = true
	host.window = seam.Window()
	host.settle()
	return host, guest.OK
}

// Connect has a new peer connect.
func (h *Host) Connect() *Peer {
	h.t.Helper()
	p := h.newPeer()
	p.open()
	return p
}

// ConnectUDP has a new peer's first datagram to come be one of a connection over
// UDP: each Send of the peer is a datagram, which the handler is given once, in a
// Data of its own, and what it leaves of it is lost; so is one that is longer than the window, and
// what comes while 16 wait for a handler that has paused. Each Send of the handler is one that goes
// whole or not at all. See Peer.ReceiveDatagram.
func (h *Host) ConnectUDP() *Peer {
	h.t.Helper()
	p := h.newPeer()
	p.udp = true
	p.open()
	return p
}

func (h *Host) newPeer() *Peer {
	h.lastHandle += 5 // nothing may rely on neighbours
	p := &Peer{h: h, handle: h.lastHandle, want: 1}
	h.peers = append(h.peers, p)
	return p
}

// Advance moves the clock on by d, and has every timer that becomes due fire at
// its time.
func (h *Host) Advance(d guest.Duration) {
	h.t.Helper()
	end := h.now + int64(d)
	for {
		i := h.earliest()
		if i < 0 || h.timers[i].due > end {
			break
		}
		h.now = max(h.now, h.timers[i].due)
		h.fire(i)
		h.settle()
	}
	h.now = end
	h.settle()
}

// Reseed tells the instance that it is a copy of the one that has started. The host
// does so before anything else.
func (h *Host) Reseed() {
	h.t.Helper()
	h.call(seam.Reseed)
	h.settle()
}

// Stop tells the instance that the host drains.
func (h *Host) Stop() {
	h.t.Helper()
	h.call(seam.Stop)
	h.settle()
}

// Log is every line that was logged so far. It is the host's own.
func (h *Host) Log() []Line { return h.logs }

// Counted is the value of a metric, 0 if there is none.
func (h *Host) Counted(name string) int64 { return h.counts[name] }

// Connections is how many connections are open, the spliced ones included.
func (h *Host) Connections() int {
	n := 0
	for _, p := range h.peers {
		if !p.pending {
			n++
		}
	}
	return n
}

// call runs a callback.
func (h *Host) call(f func()) {
	h.t.Helper()
	if h.inside {
		h.t.Fatal("guesttest: called from inside a callback; the host calls one at a time")
	}
	h.inside = true
	defer func() { h.inside = false }()
	f()
}

// restless is after how many rounds of callbacks a handler counts as one that
// never comes to rest.
const restless = 100_000

// settle calls back until nothing is left to tell.
func (h *Host) settle() {
	h.t.Helper()
	for busy, round := true, 0; busy; round++ {
		if round == restless {
			h.t.Fatal("guesttest: the handler never comes to rest: it asks for more in every callback, with Resume, Want or a timer of 0")
		}
		busy = false
		for _, p := range slices.Clone(h.peers) {
			busy = p.step() || busy
		}
		// Timers of 0 ms fire now, but each once a round, like a loop's turn.
		for i := h.earliest(); i >= 0 && h.timers[i].due <= h.now; i = h.earliest() {
			h.fire(i)
			busy = true
			break
		}
	}
}

func (h *Host) find(handle int32) *Peer {
	for _, p := range h.peers {
		if p.handle == handle && p.joined == nil {
			return p
		}
	}
	return nil
}

type timer struct {
	handle, token int32
	due           int64
}

// earliest is the index of the timer that is due first, or -1; of several, the
// one that was set first.
func (h *Host) earliest() int {
	first := -1
	for i, t := range h.timers {
		if first < 0 || t.due < h.timers[first].due {
			first = i
		}
	}
	return first
}

func (h *Host) fire(i int) {
	t := h.timers[i]
	h.timers = slices.Delete(h.timers, i, i+1)
	if t.handle < 0 {
		h.call(func() { seam.Timer(t.handle, t.token) })
		return
	}
	if p := h.find(t.handle); p != nil && !p.dying {
		p.event("csa_timer", func() { seam.Timer(t.handle, t.token) })
	}
}
