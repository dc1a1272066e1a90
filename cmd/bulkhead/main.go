// Bulkhead is a connection host: it listens where a TOML file says and gives
// every connection's bytes to a sandboxed WebAssembly module that speaks the
// protocol. See the README for the file, and `bulkhead help` for the commands.
package main

import "os"

func main() {
	compileWith = selfCompiler()
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}
