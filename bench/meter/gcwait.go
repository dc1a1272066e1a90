package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"time"

	"bulkhead/bench/guests"
	"bulkhead/bench/internal/stats"
	"bulkhead/bench/internal/table"
)

// wait is how long garbage collections took while something was in one long call.
type wait struct {
	What   string
	Spun   time.Duration // the call
	Number int           // of collections that began meanwhile
	Median time.Duration
	Worst  time.Duration
}

// gcWaits collects garbage while a guest goes round for about d of CPU time, in each mode, and
// first while a loop in Go does, which the collector can stop: what the machine makes of it.
func gcWaits(d time.Duration) ([]wait, error) {
	code, err := guests.Code("micro")
	if err != nil {
		return nil, err
	}
	w, err := gcWait("a loop in Go", d, goLoop)
	if err != nil {
		return nil, err
	}
	waits := []wait{*w}
	for m := range modes {
		g, err := newGuest(m, code)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m, err)
		}
		w, err := gcWait(m.String(), d, func(turns uint32) error {
			_, err := g.call("loop", uint64(turns))
			return err
		})
		g.close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m, err)
		}
		waits = append(waits, *w)
	}
	return waits, nil
}

// goLoop is what the guest's loop is, in Go.
func goLoop(turns uint32) error {
	x := uint32(1)
	for ; turns > 0; turns-- {
		x = x*1664525 + 1013904223
	}
	runtime.KeepAlive(x)
	return nil
}

func gcWait(what string, d time.Duration, spin func(turns uint32) error) (*wait, error) {
	// How many turns take so long, at its best.
	const some = 1 << 22
	best := time.Duration(math.MaxInt64)
	for range 5 {
		start, err := cpuTime()
		if err != nil {
			return nil, err
		}
		if err := spin(some); err != nil {
			return nil, err
		}
		end, err := cpuTime()
		if err != nil {
			return nil, err
		}
		best = min(best, end-start)
	}
	turns := min(float64(d)/float64(max(best, 1))*some, math.MaxUint32)
	w := &wait{What: what}
	runtime.GC()
	ended := make(chan error)
	go func() {
		start := time.Now()
		err := spin(uint32(turns))
		w.Spun = time.Since(start)
		ended <- err
	}()
	var took []float64
	for {
		select {
		case err := <-ended:
			w.Number, w.Median = len(took), time.Duration(stats.Median(took))
			return w, err
		default:
		}
		start := time.Now()
		runtime.GC()
		d := time.Since(start)
		took = append(took, float64(d))
		w.Worst = max(w.Worst, d)
	}
}

// printWaits writes what gcWaits found.
func printWaits(out io.Writer, waits []wait) error {
	t := table.New("guest", "one call", "collections meanwhile", "median, ms", "worst, ms")
	for _, w := range waits {
		t.Row(w.What, w.Spun.Round(time.Millisecond).String(), fmt.Sprint(w.Number),
			table.Figure(float64(w.Median)/1e6), table.Figure(float64(w.Worst)/1e6))
	}
	_, err := fmt.Fprint(out, "\nHow long a garbage collection takes while a guest is in one long call\n\n")
	return errors.Join(err, t.Write(out))
}
