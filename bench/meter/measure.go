package main

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"bulkhead/bench/internal/proc"
	"bulkhead/bench/internal/stats"
)

// row is what one subject gave. Times are medians, ratios are to the plain run of the same
// repetition, and medians of those.
type row struct {
	Name  string
	What  string
	Micro bool

	Nanos  [modes]float64 // CPU time of a turn
	Ratio  [modes]float64
	Spread float64 // of the metered ratio: (largest - smallest) / median
	Units  float64 // of fuel a turn
	Sizes  sizes
}

// perUnit is nanoseconds per unit of fuel.
func (r *row) perUnit() float64 { return r.Nanos[metered] / r.Units }

// parts are how many turns the modes take in a repetition: what slows the machine down for a while
// then slows all of them.
const parts = 5

// quicklyCompiled is how many bytes a module has, at most, that is compiled for each repetition.
const quicklyCompiled = 64 << 10

// sumTurns are how many turns each instance does at first, to warm up and for the sums that are
// compared.
const sumTurns = 3

// measure runs one subject in all modes by turns.
func measure(s *settings, sub *subject) (*row, error) {
	code, err := sub.code(s)
	if err != nil {
		return nil, err
	}
	r := &row{Name: sub.name, What: sub.what, Micro: sub.micro}
	var (
		guests [modes]*guest
		made   []*guest // open till the end, so that no two have the same addresses
		turns  [modes]turn
		counts [modes]uint32
		nanos  [modes][]float64
		ratios [modes][]float64
		units  int64
		run    int64 // metered turns
		sum    uint64
	)
	defer func() {
		for _, g := range made {
			g.close()
		}
	}()
	for m := range modes {
		g, err := newGuest(m, code)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m, err)
		}
		guests[m] = g
		made = append(made, g)
		if turns[m], err = begin(sub, g, &sum); err != nil {
			return nil, fmt.Errorf("%s: %w", m, err)
		}
		if counts[m], err = enough(turns[m], s.least/parts); err != nil {
			return nil, fmt.Errorf("%s: %w", m, err)
		}
	}
	for rep := range s.repeats {
		var took [modes]float64
		// At some addresses of its code a guest is several times slower, metered or not, so each
		// repetition has others.
		for m := range modes {
			if len(code) <= quicklyCompiled {
				if guests[m], err = newGuest(m, code); err != nil {
					return nil, fmt.Errorf("%s: %w", m, err)
				}
				made = append(made, guests[m])
			} else if err := guests[m].renew(); err != nil {
				return nil, fmt.Errorf("%s: %w", m, err)
			}
			if turns[m], err = begin(sub, guests[m], &sum); err != nil {
				return nil, fmt.Errorf("%s: %w", m, err)
			}
		}
		// What one run leaves behind must not be cleared away in another's time.
		runtime.GC()
		for k := range parts * modes {
			m := (k + mode(rep)) % modes
			before := guests[m].units()
			start, err := cpuTime()
			if err != nil {
				return nil, err
			}
			if _, err := turns[m](counts[m]); err != nil {
				return nil, fmt.Errorf("%s: %w", m, err)
			}
			end, err := cpuTime()
			if err != nil {
				return nil, err
			}
			took[m] += float64(end-start) / float64(counts[m]) / parts
			if m == metered {
				units += guests[m].units() - before
				run += int64(counts[m])
			}
		}
		for m := range modes {
			nanos[m] = append(nanos[m], took[m])
			ratios[m] = append(ratios[m], took[m]/took[plain])
		}
	}
	for m := range modes {
		r.Nanos[m] = stats.Median(nanos[m])
		r.Ratio[m] = stats.Median(ratios[m])
	}
	r.Spread = stats.Spread(ratios[metered])
	r.Units = float64(units) / float64(run)
	if !sub.micro && s.compiles > 0 {
		r.Sizes, err = compare(s.compiles, code)
	}
	return r, err
}

// begin readies an instance. What it answers to its first turns has to be sum, unless that is 0,
// and becomes that.
func begin(sub *subject, g *guest, sum *uint64) (turn, error) {
	t, err := sub.start(g)
	if err != nil {
		return nil, err
	}
	got, err := t(sumTurns)
	if err != nil {
		return nil, err
	}
	if *sum != 0 && got != *sum {
		return nil, fmt.Errorf("the sum over its results is %#x, and was %#x elsewhere", got, *sum)
	}
	*sum = got
	return t, nil
}

// enough is how many turns take at least d.
func enough(t turn, d time.Duration) (uint32, error) {
	for n := uint32(1); ; n *= 2 {
		start, err := cpuTime()
		if err != nil {
			return 0, err
		}
		if _, err := t(n); err != nil {
			return 0, err
		}
		end, err := cpuTime()
		if err != nil {
			return 0, err
		}
		if took := end - start; took >= d/2 || n >= 1<<30 {
			return uint32(float64(n)*max(1.1*float64(d)/float64(max(took, 1)), 1)) + 1, nil
		}
	}
}

// cpuTime is that of the whole process, since some modes have goroutines at work beside the guest,
// and not that of the wall, since others use the machine.
func cpuTime() (time.Duration, error) { return proc.CPU(os.Getpid()) }
