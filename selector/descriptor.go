package selector

import "fmt"

// Notices is who is told about a descriptor. The selector calls each method
// once for each time it was asked for.
type Notices interface {
	// ReadReady answers NewReader: a read, or an accept, will not block. It
	// may return the end of the stream or an error.
	ReadReady()
	// SendReady answers NewWriter: a write will not block.
	SendReady()
	// Exceptional answers NewExceptional: there is an error on the
	// descriptor, or both directions are shut down, or urgent data has come.
	Exceptional()
}

const (
	forReader int8 = 1 << iota
	forWriter
	forExceptional
	hungUp // readiness only: the peer will send no more
)

// Descriptor is one registered descriptor. It is meant to be a field of the component that owns the
// descriptor. The zero value is not registered. A registered one must not be copied.
type Descriptor struct {
	s        *Selector
	notices  Notices
	next     *Descriptor
	fd       int32
	slot     uint32
	armed    int8 // notices asked for
	ready    int8 // what the kernel has said and no call has refuted
	queued   bool
	needless int8 // how often the kernel has said what was known, and nobody wanted to hear
	muted    bool // so it does not say any more that there is something to read
}

// mostNeedless is how often the kernel may wake the loop for nothing until it is told to be still.
// A wake-up takes some microseconds, and telling it twice takes one.
const mostNeedless = 4

// Add registers fd, which has to be non-blocking, and binds d to it. n is
// told of nothing until it asks. The selector does not own fd: call Remove
// before closing it. Add fails when d is registered already, when the
// selector has stopped, or with what the system says (ENOSPC, ENOMEM; EPERM
// for a plain file).
func (s *Selector) Add(d *Descriptor, fd int, n Notices) error {
	if d.slot != 0 {
		return fmt.Errorf("selector: adding descriptor %d: it is registered already", fd)
	}
	if s.closed.Load() {
		return ErrStopped
	}
	var index uint32
	if last := len(s.free) - 1; last >= 0 {
		index = s.free[last]
		s.free = s.free[:last]
	} else {
		index = uint32(len(s.slots))
		s.slots = append(s.slots, slot{})
	}
	at := &s.slots[index]
	at.gen++
	if err := s.poll.add(fd, index, at.gen); err != nil {
		s.free = append(s.free, index)
		return fmt.Errorf("selector: adding descriptor %d: %w", fd, err)
	}
	at.d = d
	d.s, d.notices, d.fd, d.slot, d.armed = s, n, int32(fd), index, 0
	d.needless, d.muted = 0, false
	d.ready = forWriter // until a write says otherwise
	return nil
}

// Remove takes d off the selector: no notice comes after it, not even one
// that the kernel has already reported. Removing what is not registered does
// nothing.
func (s *Selector) Remove(d *Descriptor) {
	if d.slot == 0 {
		return
	}
	if !s.closed.Load() {
		s.poll.remove(int(d.fd))
	}
	s.slots[d.slot].d = nil
	s.free = append(s.free, d.slot)
	d.slot, d.armed, d.ready = 0, 0, 0
	d.needless, d.muted = 0, false
}

// Registered reports whether d is on a selector.
func (d *Descriptor) Registered() bool { return d.slot != 0 }

// NewReader asks for one ReadReady, in a later turn of the loop. If the last
// read did not say that there is nothing more (see ReadBlocked), it comes in
// the next turn.
func (d *Descriptor) NewReader() { d.arm(forReader) }

// NewWriter asks for one SendReady. If the last write did not say that there
// is no room (see WriteBlocked), it comes in the next turn.
func (d *Descriptor) NewWriter() { d.arm(forWriter) }

// NewExceptional asks for one Exceptional.
func (d *Descriptor) NewExceptional() { d.arm(forExceptional) }

// ReadAgain asks for one ReadReady in the next turn, whatever the kernel has
// said: for a reader that holds bytes back itself.
func (d *Descriptor) ReadAgain() {
	if d.slot != 0 {
		d.ready |= forReader
		d.arm(forReader)
	}
}

// RemoveReader withdraws NewReader.
func (d *Descriptor) RemoveReader() { d.armed &^= forReader }

// RemoveWriter withdraws NewWriter.
func (d *Descriptor) RemoveWriter() { d.armed &^= forWriter }

// RemoveExceptional withdraws NewExceptional.
func (d *Descriptor) RemoveExceptional() { d.armed &^= forExceptional }

// Reading reports whether a ReadReady has been asked for and not yet given.
func (d *Descriptor) Reading() bool { return d.armed&forReader != 0 }

func (d *Descriptor) arm(bit int8) {
	if d.slot == 0 {
		return
	}
	d.armed |= bit
	d.s.queue(d)
}

// ReadBlocked tells the selector that the last read took all there was: it
// answered EAGAIN, or less than it was asked for while HungUp was false. The
// next ReadReady then waits for new bytes. Without this call a ReadReady
// comes in the next turn, so that a reader that stops early loses nothing.
func (d *Descriptor) ReadBlocked() {
	d.ready &^= forReader
	d.needless = 0
	d.unmute()
}

// heard is told what the kernel has said, which d.ready does not have yet. A peer can send in many
// small pieces what nobody wants to read now, since the handler is busy or the tenant has used up
// its cpu, and each piece wakes the loop at nobody's expense. That there is something to read is
// known until ReadBlocked, so the kernel need not say it again. Errors and hanging up are told in
// any case; that urgent data has come is told then.
func (d *Descriptor) heard(ready int8) {
	if ready&d.ready&forReader == 0 || d.armed&forReader != 0 || d.muted {
		return
	}
	if d.needless++; d.needless == mostNeedless {
		d.needless = 0
		d.muted = d.s.poll.mute(int(d.fd), d.slot, d.s.slots[d.slot].gen)
	}
}

// unmute has the kernel say again when there is something to read, and at once if there is.
func (d *Descriptor) unmute() {
	if d.muted {
		d.muted = false
		d.s.poll.unmute(int(d.fd), d.slot, d.s.slots[d.slot].gen)
	}
}

// WriteBlocked tells the selector that the last write found no room: it
// answered EAGAIN, or took less than it was given.
func (d *Descriptor) WriteBlocked() { d.ready &^= forWriter }

// WriteReady reports whether nothing is known against writing now.
func (d *Descriptor) WriteReady() bool { return d.ready&forWriter != 0 }

// Readable reports whether nothing is known against reading now: bytes, or the end of
// the stream, may be there.
func (d *Descriptor) Readable() bool { return d.ready&(forReader|hungUp) != 0 }

// HungUp reports whether the kernel has said that no bytes will follow those
// that can be read now. A reader then has to read on until the end of the
// stream: no further edge will come.
func (d *Descriptor) HungUp() bool { return d.ready&hungUp != 0 }
