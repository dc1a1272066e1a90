package plugins

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"bulkhead/plugins/compiler"
	"bulkhead/plugins/internal/inside"
	"bulkhead/plugins/trace"
)

// Source reads a module again as it was loaded, and the module with its lines, which is nil where
// they are in the first. It may block.
type Source func() (module, lines []byte, err error)

// SetSource has traps of the module's guests name the lines of its source, which source says. It
// comes before the first instance. Without it, as for modules that do not say their lines, it is
// the functions' names alone. A runtime without RuntimeOptions.Compiler does not look at lines:
// what they say may be made to harm whoever reads it.
func (m *Module) SetSource(source Source) {
	if len(m.runtime.options.Compiler.Args) > 0 && m.runtime.options.Code != nil {
		m.lines = &lines{source: source}
	}
}

// What is remembered of a module's traps, so that the same one again costs nothing.
const (
	mostPlaces  = 64 // different ones
	mostWaiting = 64 // traps that wait for one that is looked up
	// placesPause is how many times as long as a lookup took none is begun after it: a
	// guest that traps at ever other places keeps a tenth of a processor busy at most.
	placesPause = 9
)

// explainWithin is for how long a trap waits for its lines to be known: some hundred milliseconds,
// but for machines with far too much to do.
var explainWithin = time.Minute

// lines are those that traps of a module were at.
type lines struct {
	source Source

	mu      sync.Mutex
	known   map[string]string // by the places in native code
	waiting []*explaining     // for the one that is looked up,
	looking string            // which is this one; "": none is
	next    time.Time         // when another may be
	broken  bool              // they cannot be read
}

// explaining is a trap that waits.
type explaining struct {
	once  sync.Once
	then  func(in string)
	timer *time.Timer
}

func (e *explaining) end(in string) {
	e.once.Do(func() {
		e.timer.Stop()
		e.then(in)
	})
}

// located is an error of a call, with the places in native code where that was.
type located struct {
	error
	module *Module
	calls  inside.Calls
}

func (l *located) Unwrap() error { return l.error }

// locate adds where f was to the error that it has just returned.
func (m *Module) locate(f *export, err error) error {
	if m.lines == nil || callsOf(err) == "" {
		return err
	}
	calls, bad := inside.CallsOf(f.Function, compiler.MaxCalls)
	if bad != nil || len(calls.At) == 0 {
		return err
	}
	return &located{err, m, calls}
}

// Explain calls then once, with where the guest was: the innermost call first, each with file and
// line where the module says them, as "f a.c:1 < g a.c:9", and else as In. It is the guest's
// text, of at most about trace.MaxText bytes. Explain does not block: then is called before it
// returns where nothing has to be looked up, and else by a goroutine, a minute later at most.
func (t *Trap) Explain(then func(in string)) {
	if t.at == nil {
		then(t.In)
		return
	}
	m, key := t.at.module, placesKey(t.at.calls.At)
	l := m.lines
	l.mu.Lock()
	known, ok := l.known[key]
	switch {
	case ok:
	case l.broken || len(l.known) == mostPlaces || l.looking != "" && (l.looking != key || len(l.waiting) == mostWaiting) ||
		l.looking == "" && time.Now().Before(l.next):
		known = t.In
	default:
		first := l.looking == ""
		if first && !m.retain() {
			known = t.In
			break
		}
		e := &explaining{then: then}
		e.timer = time.AfterFunc(explainWithin, func() { e.end(t.In) })
		l.waiting, l.looking = append(l.waiting, e), key
		l.mu.Unlock()
		if first {
			go l.look(m, key, t)
		}
		return
	}
	l.mu.Unlock()
	then(known)
}

func placesKey(at []uint32) string {
	var b []byte
	for _, p := range at {
		b = binary.LittleEndian.AppendUint32(b, p)
	}
	return string(b)
}

// look looks a trap up, and tells those who wait for it. It owns a use of the module.
func (l *lines) look(m *Module, key string, t *Trap) {
	defer m.release()
	began := time.Now()
	in, err := m.places(t.at.calls)
	stopped := m.runtime.stopped.Load()
	if err != nil && !stopped {
		m.runtime.note(fmt.Sprintf("%s: its traps do not name the lines of its source: %s", m.name, firstLine(err)))
	}
	if in == "" {
		in = t.In
	}
	l.mu.Lock()
	waiting := l.waiting
	l.waiting, l.looking = nil, ""
	l.broken = err != nil
	l.next = time.Now().Add(placesPause * time.Since(began))
	if l.known == nil {
		l.known = make(map[string]string)
	}
	l.known[key] = in
	l.mu.Unlock()
	for _, e := range waiting {
		e.end(in)
	}
}

// places are those of calls, as text. It blocks.
func (m *Module) places(calls inside.Calls) (string, error) {
	module, lines, err := m.lines.source()
	if err != nil {
		return "", err
	}
	if lines != nil && !trace.Belongs(module, lines) {
		return "", fmt.Errorf("the file with its lines is of another build: put the one there that was made with it")
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-m.runtime.stop:
			cancel()
		case <-over:
		}
	}()
	o := m.runtime.options
	shape := m.shape
	if m.interpreter != nil {
		shape = "" // its module was not mended
	}
	places, err := o.Compiler.Locate(ctx, compiler.Calls{Shape: shape, Meter: meterOptions, At: calls.At, Sum: compiler.SumOf(calls.Code)}, module, lines, o.Code.Dir())
	return trace.Text(places), err
}
