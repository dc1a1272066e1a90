package guest

import "unsafe"

// The callbacks of the ABI. csa_message comes with what causes it.

//go:wasmexport csa_start
func exportStart() int32 { return g.start() }

//go:wasmexport csa_window
func exportWindow() int64 {
	return int64(uintptr(unsafe.Pointer(unsafe.SliceData(g.window))))<<32 | int64(len(g.window))
}

//go:wasmexport csa_reseed
func exportReseed() { g.reseed() }

//go:wasmexport csa_open
func exportOpen(conn int32) int32 { return g.open(conn) }

//go:wasmexport csa_data
func exportData(conn, length int32) int32 { return g.data(conn, length) }

//go:wasmexport csa_writable
func exportWritable(conn int32) { g.writable(conn) }

//go:wasmexport csa_secured
func exportSecured(conn, status int32) { g.secured(conn, status) }

//go:wasmexport csa_eof
func exportEOF(conn int32) { g.eof(conn) }

//go:wasmexport csa_closed
func exportClosed(conn, reason int32) { g.closed(conn, reason) }

//go:wasmexport csa_timer
func exportTimer(conn, token int32) { g.timer(conn, token) }

//go:wasmexport csa_result
func exportResult(token, status int32, revision int64, length int32) {
	g.result(token, status, revision, length)
}

//go:wasmexport csa_stop
func exportStop() { g.stop() }
