package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"

	"bulkhead/host/handover/record"
)

// Came is a unit that has come.
type Came struct {
	*record.Unit
	// Descriptors are of its sockets, in the order of its connections. They are the Sink's.
	Descriptors []int
	// Mark becomes 1 instead of 0 before anything is done with a socket: see csa.Loop.Adopt.
	Mark *atomic.Uint32
}

// Adopted is what a Sink has made of a unit, as it likes.
type Adopted any

// Sink is who goes on with what Take takes. Take calls its methods on its own goroutine, one at a
// time.
type Sink interface {
	// Image is of units to come. The Sink owns the descriptor. An error refuses it, and so its
	// units.
	Image(i *record.Image, descriptor int) error
	// Adopt makes units that do nothing yet: for each what it has made, or the error for which it
	// refuses it, whose descriptors it has closed. What a unit has in bytes is to be copied.
	Adopt(units []Came) ([]Adopted, []error)
	// Begin has those go on, and Drop lets go of them, silently, as they go on where they came
	// from.
	Begin(all []Adopted)
	Drop(all []Adopted)
	// PastNumber says that connections had numbers up to this.
	PastNumber(n uint64)
}

// taker is a Take that runs.
type taker struct {
	*channel
	to     Sink
	o      Options
	marks  *marks
	used   int // of them
	report Report
}

// Take takes the units that who Gives at the other end of conn gives, and returns when the giver
// has said that it keeps none of them any more, or ctx is done, with an error. The units that have
// come stay, also when it fails. conn stays open, and is the caller's: the giver takes its end for
// the end of this process, and then takes back what has not been touched, so it has to stay open
// for as long as Take runs. Some address space for the marks is not given back: units that nothing
// has happened to have them for as long as they live.
func Take(ctx context.Context, conn *net.UnixConn, to Sink, o Options) (Report, error) {
	o.complete()
	t := &taker{channel: newChannel(conn), to: to, o: o}
	defer context.AfterFunc(ctx, t.stop)()
	err := t.take()
	return t.report, err
}

func (t *taker) take() error {
	if err := t.greet(); err != nil {
		return err
	}
	for {
		m, err := t.receive(0, image, prepare, done, over)
		if err != nil {
			if t.report.Given > 0 && errors.Is(err, io.EOF) {
				return fmt.Errorf("the giver is gone, and everything that it had given goes on: %w", err)
			}
			return err
		}
		switch m.kind {
		case image:
			err = t.image(m)
		case prepare:
			err = t.batch(m)
		case done:
			if err = t.o.at(TakeDone); err == nil {
				err = t.send(done, nil)
			}
		case over:
			m.close()
			return nil
		}
		m.close()
		if err != nil {
			return err
		}
	}
}

// greet exchanges HELLOs.
func (t *taker) greet() error {
	m, err := t.receive(t.o.Patience, hello)
	if err != nil {
		return err
	}
	defer m.close()
	theirs, err := record.ReadHello(m.body)
	switch {
	case err != nil:
		return err
	case len(m.fds) != 1:
		return errors.New("a HELLO has come without marks")
	}
	t.marks, err = marksOf(m.fds[0])
	m.fds[0] = -1
	if err != nil {
		return err
	}
	t.marks.closeFile()
	mine := record.Hello{Least: record.Version, Most: record.Version, Room: Room()}
	if err := t.send(hello, mine.Append(nil)); err != nil {
		return err
	}
	if theirs.Least > record.Version || theirs.Most < record.Version {
		return errVersion
	}
	t.to.PastNumber(theirs.LastNumber)
	return t.o.at(TakeHello)
}

// say answers for units.
func (t *taker) say(errs ...error) error {
	a := record.Answer{Why: make([]string, len(errs))}
	for k, err := range errs {
		if err != nil {
			a.Why[k] = err.Error()
		}
	}
	return t.send(answer, a.Append(nil))
}

// image takes an image.
func (t *taker) image(m message) error {
	i, err := record.ReadImage(m.body)
	switch {
	case err != nil:
		return err
	case len(m.fds) != 1:
		return errors.New("an image has come without a file")
	}
	fd := m.fds[0]
	m.fds[0] = -1
	why := t.to.Image(i, fd)
	if why != nil {
		t.report.ImagesRefused++
	}
	if err := t.o.at(TakeImage); err != nil {
		return err
	}
	return t.say(why)
}

// batch takes one batch.
func (t *taker) batch(m message) error {
	if err := t.o.at(TakePrepare); err != nil {
		return err
	}
	units, b, err := t.units(m)
	if err != nil {
		return err
	}
	for k := range m.fds {
		m.fds[k] = -1 // they are the units'
	}
	adopted, errs := t.to.Adopt(units)
	clear(b) // there may be secrets
	var taken []Adopted
	for k, err := range errs {
		if err == nil {
			taken = append(taken, adopted[k])
		} else {
			t.report.refuse(err.Error())
		}
	}
	if err := t.agree(errs); err != nil {
		t.to.Drop(taken)
		return err
	}
	t.to.Begin(taken)
	t.report.Given += len(taken)
	if err := t.o.at(TakeBegun); err != nil {
		return err
	}
	return t.send(begun, nil)
}

// agree answers for a batch that is made, and waits for COMMIT.
func (t *taker) agree(errs []error) error {
	if err := t.o.at(TakeAdopted); err != nil {
		return err
	}
	if err := t.say(errs...); err != nil {
		return err
	}
	if err := t.o.at(TakeAnswered); err != nil {
		return err
	}
	// For ever: the giver is alive, or the end of it comes.
	m, err := t.receive(0, commit)
	if err != nil {
		return err
	}
	m.close()
	return t.o.at(TakeCommit)
}

// units reads those of a batch, and b, which they are in. On an error the descriptors are still the
// message's.
func (t *taker) units(m message) (units []Came, b []byte, err error) {
	batch, err := record.ReadBatch(m.body)
	if err != nil {
		return nil, nil, err
	}
	var length, descriptors int64
	for _, s := range batch.Units {
		length += min(s.Length, mostRecords+1)
		descriptors += min(s.Descriptors, mostDescriptors+1)
	}
	if len(m.fds) == 0 || descriptors != int64(len(m.fds)-1) {
		return nil, nil, fmt.Errorf("a batch has %d descriptors, and should have %d", len(m.fds)-1, descriptors)
	}
	if t.used+len(batch.Units) > mostUnits {
		return nil, nil, errors.New("there are too many units")
	}
	if b, err = readRecords(m.fds[0], length); err != nil {
		return nil, nil, err
	}
	rest, fds := b, m.fds[1:]
	for _, s := range batch.Units {
		u, err := record.ReadUnit(rest[:s.Length])
		if err == nil && len(u.Conns) != int(s.Descriptors) {
			err = fmt.Errorf("a unit has %d connections and %d descriptors", len(u.Conns), s.Descriptors)
		}
		if err != nil {
			clear(b)
			return nil, nil, err
		}
		units = append(units, Came{Unit: u, Descriptors: append([]int(nil), fds[:s.Descriptors]...), Mark: t.marks.at(t.used)})
		rest, fds = rest[s.Length:], fds[s.Descriptors:]
		t.used++
	}
	closeAll(m.fds[:1])
	return units, b, nil
}
