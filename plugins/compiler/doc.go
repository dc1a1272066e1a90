// Package compiler has modules compiled by a process of their own, so that one
// that makes the engine's compiler crash, eat memory or run for hours fails
// alone, with a clear line, and the process that serves goes on.
//
// A Command starts that process. It is a program that calls Main, most simply
// the same one; it gets the bytes of one module and an empty directory, takes
// limits upon itself and gives its privileges away before it reads the first
// byte, and leaves the code in the form in which the engine keeps it between
// runs. The parent looks at what was left as at any bytes from outside, and
// gives it to its own engine if that asks for code of this name. Where it is
// kept is not for the child to say.
package compiler
