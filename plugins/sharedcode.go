package plugins

import (
	"crypto/sha256"
	"sync"
)

// SharedCode is the code of Interpreters that it outlives: of hosts that one process has one after
// another, or at the same time. A module that one Interpreter has compiled is there for the next of
// the same module, which neither checks nor decodes it again. It keeps mostSharedCode modules; more
// are each Interpreter's own. The zero value is ready. Any goroutine may use it. It must not be
// copied.
type SharedCode struct {
	mu     sync.Mutex
	all    map[[sha256.Size]byte]*sharedCode // by the SHA-256 of the module
	closed bool
}

// sharedCode is what an Interpreter makes of its module. It does not change.
type sharedCode struct {
	code  *code
	users int // Interpreters
}

// mostSharedCode is more than there are languages.
const mostSharedCode = 8

// Close lets go of the code that no Interpreter has, and of the rest when the last that has it is
// done with it. Nothing is kept any more. Calling it again does nothing.
func (s *SharedCode) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.dropUnused()
}

// take is the code that is there of a module, for one Interpreter more, which gives it back. Nil:
// there is none. A nil SharedCode has none.
func (s *SharedCode) take(module [sha256.Size]byte) *sharedCode {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.all[module]
	if one != nil {
		one.users++
	}
	return one
}

// share has others take an Interpreter's code from now on, and is what that one gives back. Nil:
// it stays the Interpreter's own, since s keeps no more, or has it from another that has compiled
// it at the same time.
func (s *SharedCode) share(module [sha256.Size]byte, c *code) *sharedCode {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.all) >= mostSharedCode || s.all[module] != nil {
		return nil
	}
	if s.all == nil {
		s.all = make(map[[sha256.Size]byte]*sharedCode)
	}
	c.engine.options = engineOptions{} // it compiles nothing more, and they keep a whole host
	one := &sharedCode{code: c, users: 1}
	s.all[module] = one
	return one
}

// give takes code back, of which the Interpreter has no instance left.
func (s *SharedCode) give(one *sharedCode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one.users--
	if s.closed {
		s.dropUnused()
	}
}

// dropUnused closes what no Interpreter has. mu is held.
func (s *SharedCode) dropUnused() {
	for module, one := range s.all {
		if one.users == 0 {
			delete(s.all, module)
			one.code.close()
			one.code.engine.close()
		}
	}
}
