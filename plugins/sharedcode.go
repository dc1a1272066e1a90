package plugins

import (
	"crypto/sha256"
	"sync"
)

// SharedCode is the code of modules that is compiled, and in memory, once for all who have the
// module: Runtimes, as those of many tenants of a host, and Interpreters. They have the code in
// common and nothing else. What a Runtime is charged for a module is what it would be charged if
// nobody else had it, so nobody learns from that who else does.
//
// A Runtime's module goes with the last that has it. An Interpreter's stays for the next, of hosts
// that one process has one after another: mostSharedCode of them; more are each Interpreter's own.
// The zero value is ready. Any goroutine may use it. It must not be copied.
type SharedCode struct {
	mu     sync.Mutex
	all    map[codeKey]*sharedCode
	kept   int // of Interpreters
	closed bool
}

// codeKey says what code was made of.
type codeKey struct {
	module [sha256.Size]byte
	shape  Shape // for which it was mended; empty: an Interpreter's, which was not
}

// sharedCode is what was made of a module. It does not change.
type sharedCode struct {
	of    *SharedCode
	key   codeKey
	code  *code
	users int // Interpreters, or a Runtime's Modules
}

// mostSharedCode is more than there are languages.
const mostSharedCode = 8

// Close lets go of the code that nobody has, and of the rest when the last that has it is done with
// it. Nothing is shared any more. Calling it again does nothing.
func (s *SharedCode) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, one := range s.all {
		s.dropUnused(one)
	}
}

// take is the code that is there, for one user more, who gives it back by giveBack. Nil: there is
// none. A nil SharedCode has none.
func (s *SharedCode) take(key codeKey) *sharedCode {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.all[key]
	if one != nil {
		one.users++
	}
	return one
}

// share has others take code from now on, which is one more user of its engine, and is what the
// caller gives back. Nil: the code stays the caller's own, since s keeps no more, or has it from
// another who has compiled it at the same time.
func (s *SharedCode) share(key codeKey, c *code) *sharedCode {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.all[key] != nil {
		return nil
	}
	if key.keeps() {
		if s.kept >= mostSharedCode {
			return nil
		}
		s.kept++
	}
	if s.all == nil {
		s.all = make(map[codeKey]*sharedCode)
	}
	c.engine.retain()
	one := &sharedCode{of: s, key: key, code: c, users: 1}
	s.all[key] = one
	return one
}

// giveBack is for a user who has no instance of the code left.
func (one *sharedCode) giveBack() {
	s := one.of
	s.mu.Lock()
	defer s.mu.Unlock()
	one.users--
	if s.closed || !one.key.keeps() {
		s.dropUnused(one)
	}
}

// keeps reports whether the code stays when nobody has it.
func (k codeKey) keeps() bool { return k.shape == "" }

// dropUnused closes code if nobody has it. mu is held.
func (s *SharedCode) dropUnused(one *sharedCode) {
	if one.users > 0 {
		return
	}
	delete(s.all, one.key)
	if one.key.keeps() {
		s.kept--
	}
	one.code.close()
	one.code.engine.release()
}
