package cores

import (
	"testing"
	"testing/synctest"
	"time"
)

// A tenant that has used up its quota rests until it has some again, for some milliseconds at
// least; one that has not never does.
func TestRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{})
		s, other := c.Share(0.5), c.Share(0.5)
		if wait := s.Rest(); wait > 0 {
			t.Errorf("it rests for %v before it has used anything", time.Duration(wait))
		}
		s.Book(int64(200 * time.Millisecond)) // 50 of which it had to spare
		within(t, "the rest", time.Duration(s.Rest()), 290*time.Millisecond, 310*time.Millisecond)
		if wait := other.Rest(); wait > 0 {
			t.Errorf("another tenant rests for %v", time.Duration(wait))
		}
		time.Sleep(time.Duration(s.Rest()) - time.Millisecond)
		within(t, "the rest of a millisecond", time.Duration(s.Rest()), time.Duration(pause), time.Duration(pause))
		time.Sleep(time.Duration(pause))
		if wait := s.Rest(); wait > 0 {
			t.Errorf("it rests for %v more", time.Duration(wait))
		}
		c.Stop()
	})
}
