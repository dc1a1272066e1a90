package plugins

import (
	"errors"
	"runtime"
	"time"

	"bulkhead/csa"
	"bulkhead/plugins/wasi"
)

// errGone unwinds a command whose connection has died or whose host stops.
var errGone = errors.New("the connection is gone")

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// enter unwinds the command when there is no use in it going on.
func (p *Process) enter() {
	if isClosed(p.gone) || isClosed(p.module.runtime.stop) || isClosed(p.loop.Selector().Done()) {
		panic(errGone)
	}
}

// takeTurn waits until the command may run: its tenant is within its share of the cores, and it
// has a slot. So commands are let in as events are, after each wait, and no more of them run at a
// time than their tenant has cores.
func (p *Process) takeTurn() {
	i := p.instance
	stop := p.module.runtime.stop
	for waits := true; waits && !i.cpu().Admit(p.admit); {
		select {
		case <-p.admitted:
		case <-p.gone:
			waits = false // its next call unwinds it
		case <-stop:
			waits = false
		case <-p.loop.Selector().Done():
			waits = false
		}
	}
	i.exec.use.slotted, i.exec.use.watch.threads = true, true
	i.cpu().Acquire()
}

// wait waits for the answer to what was just posted. Until it has come, or the
// loop has heard of the end or has stopped, the loop may touch the command's
// memory.
func (p *Process) wait() (int, wasi.Errno) {
	p.instance.exec.use.unbooked += waitTime
	p.instance.pause()
	defer p.instance.resume()
	stop := p.module.runtime.stop
	for {
		select {
		case a := <-p.answer:
			return a.n, a.e
		case <-p.gone:
		case <-p.loop.Selector().Done():
		case <-stop:
			stop = nil
			p.loop.Post(func() {
				if !p.over {
					p.csa.ShutdownMicroprocess(csa.HostStopped.Because("the host ended its command"))
				}
			})
			continue
		}
		select {
		case a := <-p.answer:
			return a.n, a.e
		default:
			return 0, wasi.Pipe
		}
	}
}

// commandSystem is what WASI calls of a command act on.
type commandSystem Process

func (p *commandSystem) Enter() { (*Process)(p).enter() }

// YieldIfDue lets others run.
func (p *commandSystem) YieldIfDue() { p.instance.yieldIfDue() }

func (p *commandSystem) Memory() []byte { return p.instance.memory.Bytes() }

// Read waits for bytes from the peer. At the end of its input there is nothing to wait for, so a
// command that reads on there, for ever perhaps, is in one event.
func (p *commandSystem) Read(b []byte) (int, wasi.Errno) {
	if p.atEnd {
		return 0, wasi.Success
	}
	p.wantIn = b
	(*Process)(p).noteSpent()
	p.loop.Post(p.read)
	n, e := (*Process)(p).wait()
	p.atEnd = n == 0 && e == wasi.Success && len(b) > 0
	return n, e
}

// Write waits until the CSA has taken what goes to standard output; standard
// error goes to the log.
func (p *commandSystem) Write(fd int, b [][]byte, wait bool) (int, wasi.Errno) {
	if fd != 1 {
		return p.instance.printAll(fd, b), wasi.Success
	}
	p.wantOut, p.noWait = b, !wait
	(*Process)(p).noteSpent()
	p.loop.Post(p.write)
	return (*Process)(p).wait()
}

// Poll waits for bytes from the peer, or for room for bytes to it.
func (p *commandSystem) Poll(want wasi.Ready, d time.Duration) (got wasi.Ready, end bool) {
	return (*Process)(p).poll(want, d)
}

// Close half-closes the connection when the command closes its output.
func (p *commandSystem) Close(fd int) {
	if fd == 1 {
		p.loop.Post(func() {
			if !p.over {
				p.csa.FinishSending()
			}
		})
	}
}

// waitTime is about what a wait costs beside what the loop does: to put a goroutine to sleep and
// wake it, to let it in, and to read the clocks.
const waitTime = int64(10 * time.Microsecond)

// leastSleep is for how long a command sleeps at least.
const leastSleep = time.Millisecond

// Sleep lets d pass, and not less than leastSleep, unless the command is to end.
func (p *commandSystem) Sleep(d time.Duration) {
	p.instance.exec.use.unbooked += waitTime
	p.instance.pause()
	defer p.instance.resume()
	over, stop := p.module.runtime.after(max(d, leastSleep))
	defer stop()
	select {
	case <-over:
	case <-p.gone:
	case <-p.module.runtime.stop:
	case <-p.loop.Selector().Done():
	}
}

// Yield lets other goroutines run.
func (p *commandSystem) Yield() { runtime.Gosched() }
