package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is one problem in a configuration file, or one warning about it.
type Error struct {
	// File is the name that was given to Load or Parse, as it was given.
	File string
	// Line counts from 1. It is 0 when the file could not be read at all, so
	// that there is no line to point at.
	Line int
	// What says what is wrong, on which key or value.
	What string
	// Mend says what to write or do instead. It may be empty.
	Mend string
}

// Error gives "FILE:LINE: what; mend" on one line, without ":LINE" when Line
// is 0 and without "; mend" when Mend is empty.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	b.WriteString(": ")
	b.WriteString(e.What)
	if e.Mend != "" {
		b.WriteString("; ")
		b.WriteString(e.Mend)
	}
	return b.String()
}

// Errors is what Load and Parse return when a file is not in order: every
// problem found in it, in line order. Find it in a wrapped error with
// errors.As.
type Errors []*Error

// Error gives the problems one per line, with no newline after the last.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the problems one by one, for errors.As and errors.Is.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, one := range e {
		all[i] = one
	}
	return all
}

// sort puts problems in line order and leaves those of one line as they were found.
func (e Errors) sort() {
	slices.SortStableFunc(e, func(a, b *Error) int { return cmp.Compare(a.Line, b.Line) })
}

// HostError is an error that one key of [host] is to blame for. It is of line 1 where the file does
// not say the key, since its default is used.
func (c *Config) HostError(key string, err error) *Error {
	return c.sectionError("host", key, c.Host.LineOf(key), err)
}

// AdminError is the same for a key of [admin].
func (c *Config) AdminError(key string, err error) *Error {
	return c.sectionError("admin", key, c.Admin.LineOf(key), err)
}

func (c *Config) sectionError(section, key string, line int, err error) *Error {
	return &Error{File: c.File, Line: max(line, 1), What: fmt.Sprintf("[%s] %s: %v", section, key, err)}
}

// ListenerError is an error that one key of a listener, or of a route, is to blame for.
func (c *Config) ListenerError(l *Listener, key string, err error) *Error {
	return &Error{File: c.File, Line: l.LineOf(key), What: fmt.Sprintf("listener %q: %v", l.Name, err)}
}
