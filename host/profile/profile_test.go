package profile

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// Each kind is what the tools read: gzip, or a trace.
func TestTake(t *testing.T) {
	for kind, begin := range map[string]string{CPU: "\x1f\x8b", Heap: "\x1f\x8b", Goroutine: "\x1f\x8b", Trace: "go 1."} {
		over := time.Duration(0)
		if OverTime(kind) {
			over = 50 * time.Millisecond
		}
		data, took, err := Take(t.Context(), kind, over)
		if err != nil || !bytes.HasPrefix(data, []byte(begin)) || took < over {
			t.Errorf("%s: %d bytes, %v, %v", kind, len(data), took, err)
		}
	}
}

// One is taken at a time, and who goes away ends his.
func TestOneAtATime(t *testing.T) {
	for _, kind := range []string{CPU, Trace} {
		ctx, stop := context.WithCancelCause(t.Context())
		over := errors.New("over")
		ended := make(chan error)
		go func() {
			err := ErrBusy
			for err == ErrBusy { // as long as the lock is tried below
				_, _, err = Take(ctx, kind, MostTime)
			}
			ended <- err
		}()
		for taking.TryLock() { // until it is taken
			taking.Unlock()
			time.Sleep(time.Millisecond)
		}
		if _, _, err := Take(t.Context(), Heap, 0); err != ErrBusy {
			t.Errorf("meanwhile: %v", err)
		}
		stop(over)
		if err := <-ended; err != over {
			t.Errorf("it ends with %v", err)
		}
		if _, _, err := Take(t.Context(), Goroutine, 0); err != nil {
			t.Error(err)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, wrong := range []struct {
		kind string
		over time.Duration
		want string
	}{
		{"mutex", 0, "the kinds are cpu, heap, goroutine, trace"}, {CPU, -1, "from 1 to 60 seconds"},
		{Trace, MostTime + 1, "from 1 to 60 seconds"}, {Heap, time.Second, "taken at once"},
	} {
		if _, _, err := Take(t.Context(), wrong.kind, wrong.over); err == nil || !strings.Contains(err.Error(), wrong.want) {
			t.Errorf("%s over %v: %v", wrong.kind, wrong.over, err)
		}
	}
}

// What is too large ends early, and is whole.
func TestBounded(t *testing.T) {
	b := &bounded{full: make(chan struct{})}
	p := make([]byte, MostTrace/2)
	for range 3 {
		if n, err := b.Write(p); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := b.wait(t.Context(), MostTime); err != nil || b.text.Len() != 3*len(p) {
		t.Errorf("%d bytes, %v", b.text.Len(), err)
	}
}
