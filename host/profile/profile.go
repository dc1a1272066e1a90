// Package profile takes profiles of the process, one at a time, for `go tool pprof` and `go tool
// trace`.
package profile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/pprof"
	"runtime/trace"
	"strings"
	"sync"
	"time"
)

// The kinds.
const (
	// CPU is where processor time goes over a time. What guests run is one function in it, as Go
	// does not know their code.
	CPU = "cpu"
	// Heap is what Go's memory was taken by, as the last collection has found it. Guests' memory is
	// not in it.
	Heap = "heap"
	// Goroutine is where each goroutine stands.
	Goroutine = "goroutine"
	// Trace is what the scheduler and the collector do over a time.
	Trace = "trace"
)

// Kinds are all of them.
func Kinds() []string { return []string{CPU, Heap, Goroutine, Trace} }

const (
	// DefaultTime is how long one takes that is taken over a time.
	DefaultTime = 10 * time.Second
	// MostTime is how long it may take at most.
	MostTime = time.Minute
	// MostTrace is about how many bytes a trace may have. One that has as many ends early.
	MostTrace = 64 << 20
)

// OverTime reports whether a kind is taken over a time.
func OverTime(kind string) bool { return kind == CPU || kind == Trace }

// Check says what is wrong with a kind and a time; 0: DefaultTime, where the kind takes time.
func Check(kind string, over time.Duration) error {
	switch kind {
	case CPU, Trace:
		if over < 0 || over > MostTime {
			return fmt.Errorf("a profile takes from 1 to %.0f seconds; it was given %v", MostTime.Seconds(), over)
		}
	case Heap, Goroutine:
		if over != 0 {
			return fmt.Errorf("a profile of the kind %s is taken at once; leave the seconds out", kind)
		}
	default:
		return fmt.Errorf("there is no profile %q; the kinds are %s", kind, strings.Join(Kinds(), ", "))
	}
	return nil
}

// ErrBusy says that one is being taken.
var ErrBusy = errors.New("a profile is being taken already; wait for its end")

// taking is held while one is taken: Go has one CPU profile, and one trace.
var taking sync.Mutex

// Take takes a profile, and gives up when ctx is done. over is as in Check. took is for how long it
// was taken, which is less for a trace that has become too large. Another one fails meanwhile, with
// ErrBusy.
func Take(ctx context.Context, kind string, over time.Duration) (data []byte, took time.Duration, err error) {
	if err := Check(kind, over); err != nil {
		return nil, 0, err
	}
	if !taking.TryLock() {
		return nil, 0, ErrBusy
	}
	defer taking.Unlock()
	if over == 0 {
		over = DefaultTime
	}
	b := &bounded{full: make(chan struct{})}
	began := time.Now()
	switch kind {
	case CPU:
		if err := pprof.StartCPUProfile(b); err != nil {
			return nil, 0, err
		}
		err = b.wait(ctx, over)
		pprof.StopCPUProfile()
	case Trace:
		if err := trace.Start(b); err != nil {
			return nil, 0, err
		}
		err = b.wait(ctx, over)
		trace.Stop()
	default:
		err = pprof.Lookup(kind).WriteTo(b, 0)
	}
	if err != nil {
		return nil, 0, err
	}
	return b.text.Bytes(), time.Since(began), nil
}

// bounded takes what is written, and says when that is much: what follows is taken, too, so that it
// comes to an end that can be read.
type bounded struct {
	mu   sync.Mutex
	text bytes.Buffer
	once sync.Once
	full chan struct{} // closed when it has MostTrace bytes
}

var _ io.Writer = (*bounded)(nil)

// Write is io.Writer's. The goroutine of a profile calls it.
func (b *bounded) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.text.Write(p)
	if b.text.Len() >= MostTrace {
		b.once.Do(func() { close(b.full) })
	}
	return n, err
}

// wait waits for so long, or until it is full.
func (b *bounded) wait(ctx context.Context, over time.Duration) error {
	end := time.NewTimer(over)
	defer end.Stop()
	select {
	case <-end.C:
	case <-b.full:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}
