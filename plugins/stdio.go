package plugins

import (
	"errors"
	"fmt"
	"runtime/debug"

	"bulkhead/abi"
	"bulkhead/csa"
	"bulkhead/plugins/wasi"

	"github.com/tetratelabs/wazero/sys"
)

// Process is a command of shape stdio, and the handler of the one connection that is its standard
// input and output. It serves one connection and cannot be used again. The methods of csa.Handler,
// and Stop, are for the connection's loop; Ended is for any goroutine.
//
// The command runs on a goroutine of its own, which Open starts. That goroutine waits when the
// command reads or writes; the loop never waits for it. A trap or a limit ends the connection with
// that reason. After an exit the connection is flushed and closed; a code other than 0 is logged.
// When the connection ends first, the command is stopped at its next call of the host or refill of
// its fuel.
//
// The two meet without locks. The command posts a read or write to the loop with a part of its own
// memory, and does not touch that before the answer comes through a channel. So bytes go from the
// socket straight into the guest's memory, and back.
type Process struct {
	module   *Module
	listener *Listener

	loop *csa.Loop
	csa  conn // the loop's

	// The loop's.
	in      []byte     // where the command waits for bytes; nil when it does not
	polls   wasi.Ready // what the command waits for without taking it
	blocked bool       // the CSA has taken less than it was given
	out     [][]byte   // what the command waits to have taken
	written int
	eof     bool // the end of input is reached, or there is to be none
	over    bool // Closed was called
	shown   shown

	// The command's goroutine's; the first two are the loop's to read once
	// posted.
	env         []string
	wantIn      []byte
	wantOut     [][]byte
	wantReady   wasi.Ready
	noWait      bool   // wantOut is to wait for nothing
	peek        []byte // where bytes come that the command has only asked after
	instance    *Instance
	read, write func() // the posts, made once
	ready, stay func()
	atEnd       bool // it has read the end of its input
	// What it had used since the time before when it read or wrote, and when it ended.
	spentFuel, spentTook int64
	lastFuel, lastTook   int64
	admit                func() // has admitted say that it is worth asking again
	admitted             chan struct{}

	answer chan ioAnswer // holds one
	gone   chan struct{} // closed by Closed
	ended  chan struct{} // closed when the goroutine has ended
}

type ioAnswer struct {
	n     int
	e     wasi.Errno
	ready wasi.Ready
	end   bool
}

var _ csa.Handler = (*Process)(nil)

// Stdio makes a handler for one connection of l, in any goroutine. The command starts with Open,
// and so do its instance and all that its tenant is charged for; without an Open there is nothing
// to give back. The error says that the module was loaded as another shape.
func (m *Module) Stdio(l *Listener) (*Process, error) {
	if m.shape != Stdio {
		return nil, fmt.Errorf("%s: making a command of a module of shape %q", m.name, m.shape)
	}
	p := &Process{
		module:   m,
		listener: l,
		answer:   make(chan ioAnswer, 1),
		gone:     make(chan struct{}),
		ended:    make(chan struct{}),
	}
	p.read, p.write = p.startReading, p.startWriting
	p.ready, p.stay = p.startPolling, p.stopPolling
	p.admitted = make(chan struct{}, 1)
	p.admit = func() {
		select {
		case p.admitted <- struct{}{}:
		default:
		}
	}
	return p, nil
}

// Ended is closed when the command has ended and its memory is free. Without an Open it is never
// closed.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Stop gives the command the end of its input, as when the host drains. The connection stays open
// until the command ends. It is called on the loop; calling it again does nothing.
func (p *Process) Stop() {
	p.eof = true
	switch {
	case p.polls&wasi.Readable != 0:
		p.answerPoll(wasi.Readable)
	case p.in != nil:
		p.answerRead(0, wasi.Success)
	}
}

// Open starts the command.
func (p *Process) Open(c *csa.CSA) {
	p.loop, p.csa = c.Loop(), c
	p.env = p.listener.environment(c)
	go p.run()
}

// Window is where the command waits for bytes. While it does not, reading is
// paused.
func (p *Process) Window(*csa.CSA) []byte { return p.in }

// Data ends the command's wait: the bytes are where it wants them.
func (p *Process) Data(_ *csa.CSA, b []byte) int {
	switch {
	case p.polls&wasi.Readable != 0:
		// They stay with the CSA, which is not to take it that nobody wants them.
		p.csa.Receive(false)
		p.answerPoll(wasi.Readable)
		return 0
	case p.in == nil:
		return 0
	}
	p.answerRead(len(b), wasi.Success)
	return len(b)
}

// EOF has the command read the end of its input.
func (p *Process) EOF(*csa.CSA) { p.Stop() }

// Writable goes on with what the command waits to have taken.
func (p *Process) Writable(*csa.CSA) {
	p.blocked = false
	if p.polls&wasi.Writable != 0 {
		p.answerPoll(wasi.Writable)
	}
	p.goOnWriting()
}

// Secured has nothing to tell a command, which cannot ask for TLS.
func (p *Process) Secured(*csa.CSA, abi.Code) {}

// Timer never comes: a command sets none.
func (p *Process) Timer(*csa.CSA, int32) {}

// Closed ends the command: what it waits for fails, and its next call of the
// host unwinds it.
func (p *Process) Closed(_ *csa.CSA, r csa.Reason) {
	p.over = true
	switch {
	case p.polls != 0:
		p.answerPoll(p.polls)
	case p.in != nil:
		p.answerRead(0, errnoOf(r.Code))
	}
	if p.out != nil {
		p.answerWrite(errnoOf(r.Code))
	}
	close(p.gone)
}

// errnoOf is what a read or write fails with when the connection has died.
func errnoOf(c abi.Code) wasi.Errno {
	switch c {
	case abi.OK, abi.Closed:
		return wasi.Pipe
	case abi.Reset:
		return wasi.ConnReset
	}
	return wasi.IO
}

// startReading is posted by the command.
func (p *Process) startReading() {
	p.loop.Charge(p.instance.cpu())
	p.spend()
	switch {
	case p.over:
		return // it has seen gone, and its memory may be free
	case p.eof:
		p.answer <- ioAnswer{}
	default:
		p.in = p.wantIn
		p.csa.Receive(true)
	}
}

func (p *Process) answerRead(n int, e wasi.Errno) {
	p.in = nil
	p.answer <- ioAnswer{n: n, e: e}
}

// startWriting is posted by the command.
func (p *Process) startWriting() {
	p.loop.Charge(p.instance.cpu())
	p.spend()
	if p.over {
		return
	}
	p.out, p.written = p.wantOut, 0
	p.goOnWriting()
}

func (p *Process) goOnWriting() {
	for len(p.out) > 0 {
		n, code := p.csa.Send(p.out[0])
		p.written += n
		if n < len(p.out[0]) {
			p.out[0] = p.out[0][n:]
			p.blocked = n > 0 || code == abi.Again
			switch {
			case p.blocked && p.noWait:
				p.answerWrite(wasi.Again)
			case n > 0 || code == abi.Again: // Writable goes on
			case code == abi.Quota:
				p.answerWrite(wasi.NoBufs)
			default:
				p.answerWrite(wasi.Pipe)
			}
			return
		}
		p.out = p.out[1:]
		if len(p.out) == 0 {
			p.answerWrite(wasi.Success)
		}
	}
}

// answerWrite ends the command's wait. What was taken counts before what went
// wrong.
func (p *Process) answerWrite(e wasi.Errno) {
	if p.written > 0 {
		e = wasi.Success
	}
	p.out = nil
	p.answer <- ioAnswer{n: p.written, e: e}
}

// run is the command's goroutine.
func (p *Process) run() {
	defer close(p.ended)
	reason, trap := p.guarded()
	p.loop.Post(func() {
		p.shown.clear()
		p.csa.Spend(p.lastFuel, p.lastTook)
		if trap != nil && p.listener.OnTrap != nil {
			trap.Connection, trap.Peer = p.csa.Number(), p.csa.Peer()
			p.listener.OnTrap(nil, trap)
		}
		switch {
		case p.over:
		case reason != nil:
			p.csa.ShutdownMicroprocess(*reason)
		default:
			p.csa.ProducerFinished() // what it wrote last is in the inbox
		}
	})
}

// guarded is command, of which a panic is its own affair.
func (p *Process) guarded() (reason *csa.Reason, trap *Trap) {
	defer func() {
		if v := recover(); v != nil {
			trap = &Trap{Call: "a command", Why: "the host failed", Bug: true, Err: fmt.Errorf("%v\n%s", v, debug.Stack())}
			p.instance.bug(trap)
			r := trap.reason()
			reason = &r
		}
	}()
	return p.command()
}

// command runs the command to its end. reason says why the connection is to be
// shut down; nil when it is to be flushed and closed.
func (p *Process) command() (reason *csa.Reason, trap *Trap) {
	i := &Instance{module: p.module, listener: p.listener, process: p}
	i.wasi = wasi.Process{System: (*commandSystem)(p), Args: append([]string{p.module.name}, p.listener.Args...), Env: p.env, Folder: p.listener.Folder}
	p.instance = i
	var err error
	r := p.module.runtime
	if r.bookAside(func() { err = i.instantiate(ownPlace) }); err != nil {
		return p.failed(err)
	}
	defer r.bookAside(i.Close)
	defer func() { p.lastFuel, p.lastTook = i.exec.use.sinceSpent() }()
	for _, c := range []call{callBegin, callCommand} {
		if i.module.has[c] {
			if _, err := i.once(c); err != nil {
				return p.failed(err)
			}
		}
	}
	return nil, nil
}

// failed says what an error that ended the command means for its connection.
func (p *Process) failed(err error) (*csa.Reason, *Trap) {
	var exit *sys.ExitError
	var trap *Trap
	switch {
	case errors.Is(err, errGone):
		return reason(csa.HostStopped.Because("the host ended its command")), nil
	case errors.As(err, &exit):
		if exit.ExitCode() != 0 {
			p.instance.notice(abi.LogWarn, fmt.Sprintf("its command ended with exit code %d", exit.ExitCode()))
		}
		return nil, nil
	case errors.Is(err, ErrMemory):
		return reason(csa.MemoryFull.Because("its tenant has no memory left for another instance")), nil
	case errors.As(err, &trap):
		r := trap.reason()
		return &r, trap
	}
	return reason(csa.NotStarted.Because(err.Error())), nil
}

func reason(r csa.Reason) *csa.Reason { return &r }
