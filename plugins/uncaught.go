package plugins

import (
	"fmt"

	"bulkhead/plugins/exceptions"
)

// uncaughtError is a trap since an exception has left what the host had called.
type uncaughtError struct {
	why string
	error
}

// Unwrap returns what the engine said.
func (e *uncaughtError) Unwrap() error { return e.error }

// uncaught has the error of a call say that an exception was not caught, where that is why it
// trapped: code that executes unreachable while one is under way is what package exceptions has put
// in.
func (e *executor) uncaught(err error) error {
	if err == nil || e.flight == nil || firstLine(err) != "wasm error: unreachable" {
		return err
	}
	flight := uint32(e.flight.Get())
	if flight == 0 {
		return err
	}
	return &uncaughtError{fmt.Sprintf("an exception with the tag %s was not caught", exceptions.Thrown(e.tags, flight)), err}
}
