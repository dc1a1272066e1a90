package plugins

import (
	"errors"
	"fmt"
	"runtime"
	"strings"

	"bulkhead/csa"
	"bulkhead/plugins/meter"
	"bulkhead/plugins/trace"

	"github.com/tetratelabs/wazero/sys"
)

// Trap is the end of an instance by its own doing. Nothing of it can be used
// any more.
type Trap struct {
	// Call is the export that ran, such as "csa_data".
	Call string
	// Why is one clause, such as "unreachable", safe to be shown to the tenant.
	Why string
	// In are the functions that were being called, the innermost first, as the module names
	// them: "f < g". It is the guest's text, 256 bytes at most, and empty where nothing is known,
	// and where an interpreter was stopped: Why says where its script was.
	In string
	// Stop is why the host stopped the call; StopNot when it trapped by itself.
	Stop Stop
	// Connection is the number of the connection that it came about, and Peer its other end: as in
	// Line.
	Connection uint64
	Peer       string
	// Bug reports that the host failed, not the guest.
	Bug bool
	// Err is what the engine said, with the guest's call stack.
	Err error

	at *located // for Explain; nil: there is nothing more to say
}

// Error says what trapped, or was stopped, and why, in one line.
func (t *Trap) Error() string {
	if t.Stop != StopNot {
		return fmt.Sprintf("%s was stopped: %s", t.Call, t.Why)
	}
	return fmt.Sprintf("%s trapped: %s", t.Call, t.Why)
}

// Cause is that of the ends of its connections.
func (t *Trap) Cause() csa.Cause { return t.Stop.cause() }

// reason is what the connections of the instance are closed for.
func (t *Trap) reason() csa.Reason {
	if t.Stop != StopNot {
		return t.Stop.cause().Because("its handler was stopped: " + t.Why)
	}
	return csa.Trapped.Because("its handler trapped: " + t.Why)
}

// Unwrap returns Err.
func (t *Trap) Unwrap() error { return t.Err }

// recoveredByEngine is what the engine puts behind the text of a host function's panic.
const recoveredByEngine = " (recovered by wazero)"

func newTrap(call string, err error) *Trap {
	t := &Trap{Call: call, Err: err, In: callsOf(err)}
	if at, ok := errors.AsType[*located](err); ok {
		t.at, t.Err = at, at.error
	}
	var bad *rangeError
	var exit *sys.ExitError
	var bug runtime.Error
	var stop *stopped
	var unfit *unfitError
	var behind *panicked
	var thrown *uncaughtError
	switch {
	case errors.As(err, &thrown):
		t.Why = thrown.why
	case errors.As(err, &stop):
		t.Why, t.Stop = stop.why, stop.stop
	case errors.As(err, &bad):
		t.Why = bad.Error()
	case errors.As(err, &exit):
		t.Why = fmt.Sprintf("it called proc_exit(%d), which ends its instance; a result below 0 of csa_data or csa_open ends one connection", exit.ExitCode())
	case errors.As(err, &bug):
		// Its text may hold the host's own call stack.
		t.Why, t.Bug = "the host failed", true
	case errors.As(err, &behind):
		t.Why, t.Bug = "the host failed", true
	case errors.As(err, &unfit):
		t.Why, t.Bug = "the host cannot call it", true
	case strings.HasSuffix(firstLine(err), recoveredByEngine) && !errors.Is(err, ErrSlow) && !errors.Is(err, errGone):
		t.Why, t.Bug = "the host failed", true // what it panics with on purpose is all above
	default:
		t.Why = strings.TrimSuffix(strings.TrimPrefix(firstLine(err), "wasm error: "), recoveredByEngine)
	}
	return t
}

// mostCalls bounds Trap.In, in bytes.
const mostCalls = 256

// callsOf are the guest's calls that the engine's error has, by their functions' names: one a line,
// with a tab before and a signature behind; a line with a second tab is of the call above it. Calls
// that a language makes to panic are one word.
func callsOf(err error) string {
	_, stack, _ := strings.Cut(err.Error(), "\nwasm stack trace:\n")
	stack, _, _ = strings.Cut(stack, "\n\n") // the host's own follows
	var names []string
	for line := range strings.Lines(stack) {
		name, isCall := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "\t")
		if !isCall || strings.HasPrefix(name, "\t") || strings.HasPrefix(name, "...") || strings.HasPrefix(name, refillCall) {
			continue
		}
		if at := strings.LastIndexByte(name, '('); at > 0 {
			name = name[:at]
		}
		names = append(names, trace.Name(strings.TrimPrefix(name, ".")))
	}
	if n := trace.PanicCalls(names); n > 0 {
		names = append([]string{trace.Panic}, names[n:]...)
	}
	for i, name := range names {
		names[i] = strings.ToValidUTF8(name[:min(len(name), mostCalls/4)], "")
	}
	return trace.Fold(names, mostCalls)
}

// refillCall is how the engine calls the function by which a guest asks the host for more fuel. The
// host has put the call there, so that it is none of the guest's.
const refillCall = meter.ImportModule + "." + meter.Refill + "("

// rangeError is a pointer and a length that are not inside the guest's memory.
// Host functions panic with it, which the engine turns into a trap.
type rangeError struct {
	function string
	ptr, n   uint32
	memory   int
}

// Error says which function was given what.
func (e *rangeError) Error() string {
	return fmt.Sprintf("%s was given the %d bytes at %#x, which are not all inside its memory of %d bytes", e.function, e.n, e.ptr, e.memory)
}
