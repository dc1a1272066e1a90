package plugins

import (
	"time"

	"bulkhead/plugins/wasi"
)

// peeked is how many bytes are read for a command that only asks whether there are any. They
// wait with the CSA, in its tenant's memory.
const peeked = 512

// poll waits until the command can read or write without waiting, for d at most; below zero,
// for ever. It is called by the command's goroutine. At the end of the input there is nothing to
// wait for.
func (p *Process) poll(want wasi.Ready, d time.Duration) (got wasi.Ready, end bool) {
	if p.atEnd && want&wasi.Readable != 0 {
		return wasi.Readable, true
	}
	if want == wasi.Readable|wasi.Writable {
		// Each is asked after, since who waits for both gets the first.
		got, end = p.await(wasi.Readable, 0)
		room, _ := p.await(wasi.Writable, 0)
		if got |= room; got != 0 || d == 0 {
			return got, end
		}
	}
	return p.await(want, d)
}

func (p *Process) await(want wasi.Ready, d time.Duration) (got wasi.Ready, end bool) {
	u := &p.instance.exec.use
	u.unbooked += waitTime
	p.instance.pause()
	ran := u.ran
	defer func() {
		p.instance.resume()
		if d == 0 {
			u.ran = ran // who only asks has not waited, and is in the same event
		}
	}()
	if p.peek == nil {
		p.peek = make([]byte, peeked)
	}
	p.wantReady = want
	p.loop.Post(p.ready)
	var late <-chan struct{}
	if d >= 0 {
		over, stop := p.module.runtime.after(d)
		defer stop()
		late = over
	}
	select {
	case a := <-p.answer:
		return a.ready, a.end
	case <-late:
		// The loop may be about to answer; it does so once, this way or that, unless the
		// connection is over.
		p.loop.Post(p.stay)
		select {
		case a := <-p.answer:
			return a.ready, a.end
		case <-p.gone:
		case <-p.module.runtime.stop:
		case <-p.loop.Selector().Done():
		}
	case <-p.gone:
	case <-p.module.runtime.stop:
	case <-p.loop.Selector().Done():
	}
	return want, false // the call that follows unwinds the command
}

// startPolling is posted by await.
func (p *Process) startPolling() {
	p.loop.Charge(p.instance.cpu())
	p.polls = p.wantReady
	switch {
	case p.over:
		p.polls = 0 // it has seen gone
	case p.polls&wasi.Writable != 0 && !p.blocked:
		p.answerPoll(wasi.Writable)
	case p.polls&wasi.Readable != 0 && p.eof:
		p.answerPoll(wasi.Readable)
	case p.polls&wasi.Readable != 0:
		p.in = p.peek
		p.csa.Receive(true)
	}
}

// stopPolling is posted when the command has waited for long enough. It gives the socket a
// turn of the loop to say that there is something, for commands that do not want to wait at all.
func (p *Process) stopPolling() {
	p.loop.Post(p.stopPollingNow)
}

func (p *Process) stopPollingNow() {
	if p.polls != 0 {
		if p.in != nil {
			p.csa.Receive(false)
		}
		p.answerPoll(0)
	}
}

func (p *Process) answerPoll(ready wasi.Ready) {
	p.polls, p.in = 0, nil
	p.answer <- ioAnswer{ready: ready, end: ready&wasi.Readable != 0 && p.eof}
}
