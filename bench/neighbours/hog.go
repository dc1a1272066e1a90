package main

import (
	"io"
	"os"
	"time"

	"bulkhead/bench/internal/proc"
)

// burst is for how long a hog computes at a time.
const burst = 5 * time.Millisecond

// hog uses share of one core, at most the whole, until in ends. It stands for the spinners in a
// process of their own: what the kernel makes of them.
func hog(share float64, in io.Reader) error {
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, in)
		close(ended)
	}()
	start := time.Now()
	for {
		before, err := proc.CPU(os.Getpid())
		if err != nil {
			return err
		}
		for used := time.Duration(0); used < burst; {
			now, err := proc.CPU(os.Getpid())
			if err != nil {
				return err
			}
			used = now - before
		}
		// What the kernel has kept from it, it makes up for by not resting.
		rest := time.Duration(float64(before+burst)/share) - time.Since(start)
		select {
		case <-ended:
			return nil
		case <-time.After(rest):
		}
	}
}
