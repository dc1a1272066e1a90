package plugins

import "bulkhead/plugins/meter"

// call numbers the exports that the host calls. Those of package abi have the
// numbers of their rows.
type call int

const (
	callWindow call = iota
	callStart
	callReseed
	callOpen
	callData
	callWritable
	callSecured
	callEOF
	callClosed
	callTimer
	callMessage
	callResult
	callStop
	callInitialize
	callCommand
	callBegin   // WebAssembly's start function, by the meter's name for it
	callPrepare // an interpreter's, before it has a script; of other modules it is never called
	calls
)

var callNames = [calls]string{"csa_window", "csa_start", "csa_reseed", "csa_open", "csa_data", "csa_writable", "csa_secured",
	"csa_eof", "csa_closed", "csa_timer", "csa_message", "csa_result", "csa_stop", "_initialize", "_start", meter.StartExport, "bulkhead_prepare"}

// String is the name of the export, or what it is where that is the meter's.
func (c call) String() string {
	if c == callBegin {
		return "the start function"
	}
	return callNames[c]
}
