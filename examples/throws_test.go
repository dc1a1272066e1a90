package examples_test

import (
	"strings"
	"testing"

	"bulkhead/internal/hosttest"
)

// A guest in C++ throws and catches: its own exceptions and those of the library, through many
// calls, and the destructors on the way run. What nobody catches ends its connection, with the kind
// of exception in the log.
func TestExceptionsOfCPlusPlus(t *testing.T) {
	h, lines := serveOne(t, "guest", "testdata/throws/throws.wasm")
	conn := hosttest.Dial(t, h.Addr("guest"))
	for _, c := range [][2]string{
		{"n12", "12"}, {"nx", "invalid_argument stoi: no conversion"}, {"n99999999999", "out_of_range stoi: out of range"},
		{"d7", "7" + strings.Repeat(".", 20)}, {"dx", "invalid_argument stoi: no conversion"},
		{"v1", "11"}, {"v3", "out_of_range vector"}, {"s1", "bc"}, {"s4", "out_of_range basic_string"},
		{"rpipe", "Broken pipe"}, {"i42", "int 42"}, {"n13", "13"},
	} {
		hosttest.Say(t, conn, c[0])
		hosttest.Hear(t, conn, c[1]+" (0)\n")
	}
	for verb, why := range map[string]string{
		"u":  `an exception with the tag \"__cpp_exception\" was not caught`,
		"xy": "unreachable", // std::terminate
	} {
		conn := hosttest.Dial(t, h.Addr("guest"))
		hosttest.Say(t, conn, verb)
		wait(t, conn)
		lines.Wait("a handler trapped", why)
	}
	hosttest.Say(t, conn, "n14")
	hosttest.Hear(t, conn, "14 (0)\n")
}
