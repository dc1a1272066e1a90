package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"bulkhead/host/handover/record"

	"golang.org/x/sys/unix"
)

// Unit is what goes as a whole, and is held still.
type Unit interface {
	// Append appends its record to b.
	Append(b []byte) []byte
	// Descriptors are those of its sockets, which stay its own.
	Descriptors() []int
}

// Image is one that units are changes of.
type Image struct {
	record.Image
	// Descriptor is of its file. Give closes it.
	Descriptor int
}

// Source is what Give gives away. Give calls its methods on its own goroutine, one at a time.
type Source interface {
	// Images are all that units to come are changes of. The error is that they cannot be given.
	Images() ([]Image, error)
	// Freeze holds up to most units still and returns them; none: there are no more now. It need
	// not fill the batch.
	Freeze(most int) []Unit
	// GoOn has units go on here, and Leave lets go of those that go on there, silently. Lose ends
	// those that the other process had touched when it died. Each unit gets one of the three.
	GoOn(units []Unit)
	Leave(units []Unit)
	Lose(units []Unit)
	// LastNumber is the greatest number of a connection that there was.
	LastNumber() uint64
}

// given is a unit that the other process has.
type given struct {
	unit  Unit
	mark  *atomic.Uint32
	until time.Time // when the guard time is over
}

// giver is a Give that runs.
type giver struct {
	*channel
	from   Source
	o      Options
	marks  *marks
	used   int   // of them
	room   int64 // that the taker has left
	given  []given
	report Report
}

// Give gives the units of a Source to who Takes at the other end of conn, until Freeze has no more,
// or ctx is done. It returns when the guard time is over, or the other process has died; with the
// error for which it ended early. What was not given goes on as if nothing had been. conn stays
// open, and is the caller's. When Give fails, the caller does well to kill the other process, which
// may have some units yet.
func Give(ctx context.Context, conn *net.UnixConn, from Source, o Options) (Report, error) {
	o.complete()
	g := &giver{channel: newChannel(conn), from: from, o: o}
	err := g.give(ctx)
	g.settle(err)
	if g.marks != nil {
		g.marks.close()
	}
	return g.report, err
}

func (g *giver) give(ctx context.Context) error {
	if err := g.greet(); err != nil {
		return err
	}
	if err := g.sendImages(); err != nil {
		return err
	}
	for ctx.Err() == nil {
		most := min(g.o.Batch, int(min(g.room-reserve, mostUnits))-g.used)
		if most <= 0 {
			break
		}
		began := time.Now()
		units := g.from.Freeze(most)
		if len(units) == 0 {
			break
		}
		if err := g.move(units, began); err != nil {
			return err
		}
		g.sweep()
	}
	if err := g.send(done, nil); err != nil {
		return err
	}
	if err := g.o.at(GiveDone); err != nil {
		return err
	}
	if _, err := g.receive(g.o.Patience, done); err != nil {
		return err
	}
	return g.guard(ctx)
}

// greet exchanges HELLOs.
func (g *giver) greet() (err error) {
	if g.marks, err = newMarks(); err != nil {
		return err
	}
	mine := record.Hello{Least: record.Version, Most: record.Version, LastNumber: g.from.LastNumber()}
	if err := g.send(hello, mine.Append(nil), g.marks.fd); err != nil {
		return err
	}
	if err := g.o.at(GiveHello); err != nil {
		return err
	}
	m, err := g.receive(g.o.Patience, hello)
	if err != nil {
		return err
	}
	m.close()
	theirs, err := record.ReadHello(m.body)
	switch {
	case err != nil:
		return err
	case theirs.Least > record.Version || theirs.Most < record.Version:
		return errVersion
	case theirs.Room <= reserve:
		return fmt.Errorf("the other process has room for %d descriptors; raise its limit (LimitNOFILE)", theirs.Room)
	}
	g.room = theirs.Room
	return nil
}

// sendImages gives the images away.
func (g *giver) sendImages() error {
	all, err := g.from.Images()
	defer func() {
		for _, i := range all {
			closeAll([]int{i.Descriptor})
		}
	}()
	if err != nil {
		return err
	}
	for k := range all {
		b := all[k].Append(nil)
		if len(b) > mostMessage {
			g.report.ImagesRefused++
			continue
		}
		if err := g.send(image, b, all[k].Descriptor); err != nil {
			return err
		}
		if err := g.o.at(GiveImage); err != nil {
			return err
		}
		a, err := g.answer(1)
		if err != nil {
			return err
		}
		if a.Why[0] != "" {
			g.report.ImagesRefused++
		}
		g.room--
	}
	return nil
}

// answer waits for one about n units.
func (g *giver) answer(n int) (a record.Answer, err error) {
	m, err := g.receive(g.o.Patience, answer)
	if err != nil {
		return a, err
	}
	m.close()
	if a, err = record.ReadAnswer(m.body); err == nil && len(a.Why) != n {
		err = fmt.Errorf("an answer is about %d units, and should be about %d", len(a.Why), n)
	}
	return a, err
}

// move moves one batch, which is held still since a time. On an error no unit of it is on its way.
func (g *giver) move(units []Unit, began time.Time) (err error) {
	defer func() {
		if err != nil {
			g.from.GoOn(units) // those that are nobody's yet
		}
	}()
	if err := g.o.at(GiveFrozen); err != nil {
		return err
	}
	for len(units) > 0 {
		// As many as go with one message.
		var fds []int
		n := 0
		for n < len(units) && len(fds)+len(units[n].Descriptors()) < mostDescriptors {
			fds = append(fds, units[n].Descriptors()...)
			n++
		}
		if n == 0 {
			g.report.refuse("it has too many connections")
			g.from.GoOn(units[:1])
			units = units[1:]
			continue
		}
		some := units[:n]
		committed, err := g.prepare(some, fds)
		if err != nil {
			return err
		}
		units = units[n:]
		if err := g.commit(committed, len(fds), began); err != nil {
			return err
		}
	}
	return nil
}

// prepared is a unit that the other process will have, by the number of its mark.
type prepared struct {
	unit Unit
	mark int
}

// prepare sends units, and returns those that the other process has made. Those that it refuses go
// on. On an error all are still the caller's.
func (g *giver) prepare(units []Unit, fds []int) ([]prepared, error) {
	var batch record.Batch
	var all []byte
	for _, u := range units {
		before := len(all)
		all = u.Append(all)
		batch.Units = append(batch.Units, record.Size{Length: int64(len(all) - before), Descriptors: int64(len(u.Descriptors()))})
	}
	file, err := records(all)
	clear(all) // there may be secrets
	if err != nil {
		return nil, err
	}
	defer forgetRecords(file)
	if err := g.send(prepare, batch.Append(nil), append([]int{file}, fds...)...); err != nil {
		return nil, err
	}
	if err := g.o.at(GivePrepared); err != nil {
		return nil, err
	}
	a, err := g.answer(len(units))
	if err != nil {
		return nil, err
	}
	if err := g.o.at(GiveAnswered); err != nil {
		return nil, err
	}
	var taken []prepared
	var back []Unit
	for k, u := range units {
		if a.Why[k] == "" {
			taken = append(taken, prepared{u, g.used + k})
		} else {
			g.report.refuse(a.Why[k])
			back = append(back, u)
		}
	}
	g.used += len(units)
	g.from.GoOn(back)
	return taken, nil
}

// commit says that units are the other process's.
func (g *giver) commit(units []prepared, fds int, began time.Time) error {
	if err := g.send(commit, nil); err != nil {
		// It has not gone: they are not touched, and settle has them go on.
		g.keep(units)
		return err
	}
	g.keep(units)
	g.room -= int64(fds)
	if err := g.o.at(GiveCommit); err != nil {
		return err
	}
	if _, err := g.receive(g.o.Patience, begun); err != nil {
		return err
	}
	took := time.Since(began)
	g.report.Longest = max(g.report.Longest, took)
	g.report.Total += took * time.Duration(len(units))
	return g.o.at(GiveBegun)
}

// keep notes units as given, until their guard time is over.
func (g *giver) keep(units []prepared) {
	until := time.Now().Add(g.o.Guard)
	for _, u := range units {
		g.given = append(g.given, given{u.unit, g.marks.at(u.mark), until})
	}
	g.report.Given += len(units)
}

// sweep lets go of what has been touched there, and of what the guard time is over for.
func (g *giver) sweep() {
	now := time.Now()
	var left []Unit
	g.given = slices.DeleteFunc(g.given, func(k given) bool {
		if k.mark.Load() != untouched || !now.Before(k.until) {
			left = append(left, k.unit)
			return true
		}
		return false
	})
	g.from.Leave(left)
}

// guard waits until nothing is kept any more, or the other process dies. When ctx is done, nothing
// is kept.
func (g *giver) guard(ctx context.Context) error {
	if err := g.o.at(GiveGuard); err != nil {
		return err
	}
	for {
		if ctx.Err() != nil {
			g.o.Guard = 0
			for k := range g.given {
				g.given[k].until = time.Time{}
			}
		}
		if g.sweep(); len(g.given) == 0 {
			_ = g.send(over, nil) // it may have gone, and knows
			return nil
		}
		// Nothing comes but the end.
		if _, err := g.receive(lookAtMarks); !errors.Is(err, unix.EAGAIN) && !isTimeout(err) {
			return err
		}
	}
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// settle decides what becomes of what is kept when Give ends.
func (g *giver) settle(err error) {
	var back, lost, left []Unit
	for _, k := range g.given {
		switch {
		case k.mark.CompareAndSwap(untouched, takenBack): // from here on the taker leaves it alone
			back = append(back, k.unit)
		case dead(err):
			lost = append(lost, k.unit)
		default:
			left = append(left, k.unit) // the taker serves it
		}
	}
	g.given = nil
	g.report.Given -= len(back) + len(lost)
	g.report.Returned += len(back)
	g.report.Lost += len(lost)
	g.from.GoOn(back)
	g.from.Lose(lost)
	g.from.Leave(left)
}
