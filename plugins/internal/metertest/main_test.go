package metertest

import (
	"os"
	"runtime/debug"
	"testing"
)

// Tests that use up a stack have the engine allocate and drop tens of megabytes each. With the
// default of 100 the collector would run for each of them.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}
