package host

import (
	"context"
	"errors"
	"fmt"
)

// Serving is closed when Run has begun to accept. It is never closed when Run fails first.
func (h *Host) Serving() <-chan struct{} { return h.serving }

// Turn returns when each loop has had a turn: everything that had come to it before was served, and
// it takes more. The error says that a loop has had none when ctx was done, or that the host has
// stopped. It may be called from any goroutine but a loop's.
func (h *Host) Turn(ctx context.Context) error {
	turned := make(chan struct{}, len(h.machine.Loops))
	for _, l := range h.machine.Loops {
		if !l.Post(func() { turned <- struct{}{} }) {
			return errors.New("the host has stopped")
		}
	}
	for i := range h.machine.Loops {
		select {
		case <-turned:
		case <-h.closed:
			return errors.New("the host has stopped")
		case <-ctx.Done():
			return fmt.Errorf("%d of %d loops had no turn: %w", len(h.machine.Loops)-i, len(h.machine.Loops), context.Cause(ctx))
		}
	}
	return nil
}
