// Package codestore keeps native code between runs, in a folder of files that
// are bound to the module they come from and to the engine that made them; and
// the modules themselves, by their SHA-256. Notes lie there, too, as code does: see
// Store.KeepNote.
//
// What lies in the folder is executed, so each file ends with an HMAC-SHA256
// over the whole of it: over the code, the sum of its module, the engine, and
// the name that the engine itself has for the code. The key is a file of the
// folder that only its owner can read. Get verifies all of that over a copy in
// memory and gives out that copy, so that nothing can change between the check
// and the use. A file with one bit flipped, one that was cut short, or the file
// of another module in its place is Damaged: it is removed, and its code has to
// be compiled again.
//
// The key finds what was damaged or mixed up, and code from other machines. It does not
// hold off who can write to the folder: that is whoever runs this process, and
// root, which Open makes sure of.
package codestore
