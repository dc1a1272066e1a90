// Package metertest proves package meter with the engine. It holds nothing but
// tests: they run modules plain and metered, side by side, in the engine's
// compiler and in its interpreter, and want the same results, the same traps
// and the same fuel. The modules are those of the WebAssembly core test suite,
// which ships inside the engine's module, and generated ones.
package metertest
