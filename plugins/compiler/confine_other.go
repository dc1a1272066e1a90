//go:build unix && !linux

package compiler

// dieWithParent is for Linux: elsewhere the limits of time have to do.
func dieWithParent() error { return nil }

// addressSpace is how much this process has now, in bytes.
func addressSpace() int64 { return guessedBase }

// killFirst is for Linux.
func killFirst() {}

// dropPrivileges has nothing to drop: a change of user has taken everything.
func dropPrivileges() error { return nil }

// restrict is for Linux.
func restrict(bool) error { return nil }
