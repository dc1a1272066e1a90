// Package examples has no code of its own: each folder is a handler with its
// .wasm beside the source, and quickstart.toml serves them.
package examples
