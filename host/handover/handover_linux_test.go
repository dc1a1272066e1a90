package handover

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"bulkhead/csa"
	"bulkhead/host/handover/record"
	"bulkhead/internal/pairtest"

	"golang.org/x/sys/unix"
)

// thing is a unit of the tests: the descriptor of a file that is as long as its number.
type thing struct {
	n, fd int
}

func (u *thing) Append(b []byte) []byte {
	return (&record.Unit{Listener: "x", Conns: []record.Conn{{Record: csa.Record{Number: uint64(u.n)}}}}).Append(b)
}

func (u *thing) Descriptors() []int { return []int{u.fd} }

// source has some things, and notes what becomes of each.
type source struct {
	t                *testing.T
	left             []*thing
	wentOn, gone, ls []int
	image            int
	asked            bool // for the image, which is Give's then
}

func newSource(t *testing.T, n int) *source {
	s := &source{t: t}
	for k := range n {
		fd, err := unix.MemfdCreate("thing", unix.MFD_CLOEXEC)
		if err != nil || unix.Ftruncate(fd, int64(k+1)) != nil {
			t.Fatal(err)
		}
		s.left = append(s.left, &thing{k + 1, fd})
	}
	s.image, _ = unix.MemfdCreate("image", unix.MFD_CLOEXEC)
	return s
}

func (s *source) Images() ([]Image, error) {
	s.asked = true
	return []Image{{record.Image{Number: 1, Listener: "x"}, s.image}}, nil
}

func (s *source) LastNumber() uint64 { return 77 }

func (s *source) Freeze(most int) (units []Unit) {
	for len(units) < most && len(s.left) > 0 {
		units = append(units, s.left[0])
		s.left = s.left[1:]
	}
	return units
}

func (s *source) end(to *[]int, units []Unit) {
	for _, u := range units {
		*to = append(*to, u.(*thing).n)
		_ = unix.Close(u.(*thing).fd)
	}
}

func (s *source) GoOn(units []Unit)  { s.end(&s.wentOn, units) }
func (s *source) Leave(units []Unit) { s.end(&s.gone, units) }
func (s *source) Lose(units []Unit)  { s.end(&s.ls, units) }

// sink takes things, and touches those whose number is even as soon as they begin.
type sink struct {
	t             *testing.T
	touches       bool
	refuse        int // the number of one that it does not want
	begun, idle   []Came
	past          uint64
	images        int
	adopted, drop int
}

func (s *sink) PastNumber(n uint64) { s.past = n }

func (s *sink) Image(_ *record.Image, fd int) error {
	s.images++
	return unix.Close(fd)
}

func (s *sink) Adopt(units []Came) (all []Adopted, errs []error) {
	for _, u := range units {
		n := int(u.Conns[0].Number)
		var is unix.Stat_t
		if err := unix.Fstat(u.Descriptors[0], &is); err != nil || is.Size != int64(n) {
			s.t.Errorf("thing %d has come with the descriptor of %d", n, is.Size)
		}
		if n == s.refuse {
			_ = unix.Close(u.Descriptors[0])
			all, errs = append(all, nil), append(errs, errors.New("not this one"))
			continue
		}
		s.adopted++
		all, errs = append(all, u), append(errs, nil)
	}
	return all, errs
}

func (s *sink) Begin(all []Adopted) {
	for _, a := range all {
		u := a.(Came)
		_ = unix.Close(u.Descriptors[0])
		if s.touches && u.Conns[0].Number%2 == 0 && u.Mark.CompareAndSwap(0, 1) {
			s.begun = append(s.begun, u)
		} else {
			s.idle = append(s.idle, u)
		}
	}
}

func (s *sink) Drop(all []Adopted) {
	for _, a := range all {
		s.drop++
		_ = unix.Close(a.(Came).Descriptors[0])
	}
}

// has are the numbers of those that a sink has in the end: those that it touched, and those that
// nobody has taken back.
func (s *sink) has() (n []int) {
	for _, u := range s.begun {
		n = append(n, int(u.Conns[0].Number))
	}
	for _, u := range s.idle {
		if u.Mark.CompareAndSwap(0, 1) {
			n = append(n, int(u.Conns[0].Number))
		}
	}
	return n
}

func open(t *testing.T) int {
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// run hands n things over, with something going wrong at a step where dies says so.
func run(ctx context.Context, t *testing.T, from *source, to *sink, give, take Options) (gave, took Report, gaveErr, tookErr error) {
	a, b := pairtest.Packets(t)
	give.Patience, take.Patience = time.Minute, time.Minute
	done := make(chan struct{})
	go func() {
		defer close(done)
		took, tookErr = Take(context.Background(), b, to, take)
		if tookErr != nil {
			_ = b.Close() // the process is dead
		}
	}()
	gave, gaveErr = Give(ctx, a, from, give)
	if gaveErr != nil {
		_ = a.Close()
	}
	<-done
	_, _ = a.Close(), b.Close()
	return gave, took, gaveErr, tookErr
}

func sorted(parts ...[]int) []int {
	all := slices.Concat(parts...)
	slices.Sort(all)
	return all
}

func upTo(n int) (all []int) {
	for k := range n {
		all = append(all, k+1)
	}
	return all
}

// All that there is goes, in batches, but for what the other side refuses.
func TestGiveAndTake(t *testing.T) {
	before := open(t)
	from, to := newSource(t, 300), &sink{t: t, touches: true, refuse: 7}
	gave, took, gaveErr, tookErr := run(context.Background(), t, from, to, Options{Guard: -1}, Options{})
	if gaveErr != nil || tookErr != nil || gave.Given != 299 || took.Given != 299 || gave.Why["not this one"] != 1 || gave.Refused != 1 {
		t.Errorf("%+v %+v %v %v", gave, took, gaveErr, tookErr)
	}
	if to.past != 77 || to.images != 1 || !slices.Equal(from.wentOn, []int{7}) || len(from.gone) != 299 {
		t.Errorf("past %d, %d images, %v went on, %d are gone", to.past, to.images, from.wentOn, len(from.gone))
	}
	if n := open(t); n > before {
		t.Errorf("%d descriptors are left, and were %d", n, before)
	}
}

// The guard time: what is not touched is kept until it is over, or nobody waits for that, and what
// is touched is let go of at once.
func TestGuard(t *testing.T) {
	from, to := newSource(t, 10), &sink{t: t, touches: true}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	gave, _, gaveErr, tookErr := run(ctx, t, from, to, Options{Guard: time.Hour, Step: func(s Step) error {
		if s == GiveGuard {
			if len(from.gone) != 5 {
				t.Errorf("%d are let go of already", len(from.gone))
			}
			cancel()
		}
		return nil
	}}, Options{})
	if gaveErr != nil || tookErr != nil || gave.Given != 10 || len(from.gone) != 10 {
		t.Errorf("%+v, %v, %v; %d are gone", gave, gaveErr, tookErr, len(from.gone))
	}

	from, to = newSource(t, 3), &sink{t: t}
	began := time.Now()
	_, _, gaveErr, tookErr = run(context.Background(), t, from, to, Options{Guard: 30 * time.Millisecond}, Options{})
	if d := time.Since(began); gaveErr != nil || tookErr != nil || len(from.gone) != 3 || d < 30*time.Millisecond {
		t.Errorf("%v, %v; %d are gone after %v", gaveErr, tookErr, len(from.gone), d)
	}
}

// Whatever goes wrong at whatever step, in the giver or in the taker, each unit is in one place
// afterwards, and in one alone; nothing is lost that the taker has not touched; and no descriptor
// is left open.
func TestEachStepMayFail(t *testing.T) {
	const n = 100
	for _, touches := range []bool{false, true} {
		for _, at := range Steps {
			for nth := 1; nth <= 2; nth++ { // the first time that the step comes, and the second
				t.Run(fmt.Sprintf("%s, %d, touches %v", at, nth, touches), func(t *testing.T) {
					before := open(t)
					from, to := newSource(t, n), &sink{t: t, touches: touches}
					came := 0
					fails := func(s Step) error {
						if s == at {
							if came++; came == nth {
								return errors.New("the test says so")
							}
						}
						return nil
					}
					give, take := Options{Guard: 1e7, Batch: 32}, Options{}
					taker := at[0] == 't'
					if taker {
						take.Step = fails
					} else {
						give.Step = fails
					}
					gave, _, gaveErr, tookErr := run(context.Background(), t, from, to, give, take)
					failed := came >= nth
					if failed != (gaveErr != nil) && !(taker && at == TakeDone) || failed != (tookErr != nil) && at != GiveGuard && at != GiveDone {
						t.Errorf("Give says %v, and Take %v", gaveErr, tookErr)
					}
					for _, u := range from.left { // Give never came to them
						_ = unix.Close(u.fd)
						from.wentOn = append(from.wentOn, u.n)
					}
					if !from.asked {
						_ = unix.Close(from.image)
					}
					has := to.has()
					if taker && failed {
						// It is dead, and so is what it had touched: the giver says so.
						if !slices.Equal(sorted(from.ls, from.gone), sorted(has)) {
							t.Errorf("the dead had %v; %v are lost and %v are gone", sorted(has), sorted(from.ls), sorted(from.gone))
						}
						has = nil
						if !touches && len(from.ls) > 0 {
							t.Errorf("%v are lost, and were not touched", from.ls)
						}
						if !slices.Equal(sorted(from.wentOn, from.ls, from.gone), upTo(n)) {
							t.Errorf("%v went on, %v are lost", from.wentOn, from.ls)
						}
					} else if !slices.Equal(sorted(from.wentOn, has), upTo(n)) {
						t.Errorf("%v went on here, and %v there", from.wentOn, has)
					}
					if len(from.ls) != gave.Lost {
						t.Errorf("%d are lost, and the report says %d", len(from.ls), gave.Lost)
					}
					if now := open(t); now > before {
						t.Errorf("%d descriptors are open, and were %d", now, before)
					}
				})
			}
		}
	}
}
