// Package bundle makes one script of several files: of TypeScript, and of a script and what it
// imports, packages in node_modules included. The work is esbuild's.
//
// A script may be a customer's, and esbuild reads whatever it says. So it runs in a child process,
// with limits and without privileges, as package compiler has modules compiled. The child opens no
// file. It asks the parent for each, by its path in the script's folder; the parent follows no link
// out of that folder, and notes each question with the answer. While the answers are the same, the
// bundle is.
package bundle
