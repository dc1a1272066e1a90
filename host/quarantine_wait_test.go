package host

import (
	"testing"
	"time"
)

// The waits double from a second to five minutes, a quarter more or less.
func TestRetryAfter(t *testing.T) {
	for tries, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 9: 256 * time.Second, 10: lastRetry, 1 << 30: lastRetry} {
		for range 100 {
			if wait := retryAfter(tries); wait < want*3/4 || wait > want*5/4 {
				t.Fatalf("%v after %d tries; want %v, a quarter more or less", wait, tries, want)
			}
		}
	}
}
