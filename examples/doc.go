// Package examples has no code of its own: each folder is a handler, a script or a
// .wasm beside its source, and quickstart.toml serves them.
package examples
