package guest

import "unsafe"

// Duration is a length of time in nanoseconds. It is time.Duration in all but
// name, and either converts to the other.
type Duration int64

// Common durations.
const (
	Millisecond Duration = 1e6
	Second      Duration = 1e9
	Minute      Duration = 60 * Second
	Hour        Duration = 60 * Minute

	// MaxDuration is the longest that a timer can run: almost 25 days.
	MaxDuration Duration = (1<<31 - 1) * Millisecond
)

// Config is the listener's config table as a JSON object. The slice is the
// caller's. See also Starter.
func Config() []byte {
	n := config(nil)
	if n <= 0 {
		return nil
	}
	p := make([]byte, n)
	return p[:max(0, min(n, config(p)))]
}

// Now is the time of day in nanoseconds since 1970-01-01 UTC, for time.Unix(0,
// Now()). It may jump.
func Now() int64 { return clock(clockWall) }

// Monotonic is the time since some fixed moment. It never goes back, and timers
// go by it.
func Monotonic() Duration { return Duration(clock(clockMonotonic)) }

// Random fills p with random bytes fit for keys.
func Random(p []byte) error { return errorOf(random(p)) }

// Log writes one line to the tenant's log. Of a text longer than MaxLogLine
// bytes the rest is cut.
func Log(level Level, text string) {
	log(int32(level), unsafe.Slice(unsafe.StringData(text), len(text)))
}

// Count adds n, which may be negative, to the tenant's metric of this name: 1
// to MaxMetricName of a to z, 0 to 9 and _, else Invalid. Quota says that the
// tenant has too many names.
func Count(name string, n int64) error {
	return errorOf(count(unsafe.Slice(unsafe.StringData(name), len(name)), n))
}

// SetTimer is Conn.SetTimer for a timer of the instance's own: Handler.Timer is
// called with a nil Conn.
func SetTimer(token int32, d Duration) error { return setTimer(-1, token, d) }

// StopTimer stops the instance's timer with this token, if there is one.
func StopTimer(token int32) error { return errorOf(timer(-1, token, -1)) }

func setTimer(handle, token int32, d Duration) error {
	if d < 0 || d > MaxDuration {
		return Invalid
	}
	return errorOf(timer(handle, token, int32((d+Millisecond-1)/Millisecond)))
}
