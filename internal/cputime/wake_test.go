package cputime

import "testing"

func TestWake(t *testing.T) {
	if ns := Wake(); ns < leastWake || ns > mostWake {
		t.Errorf("a thread is put to sleep and woken for %d ns; want %d to %d", ns, leastWake, mostWake)
	} else {
		t.Logf("a thread is put to sleep and woken for %d ns", ns)
	}
}
