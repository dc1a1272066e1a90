package guest

import (
	"runtime"
	"unsafe"
)

// The callbacks of the ABI. csa_message comes with what causes it.

//go:wasmexport csa_start
func exportStart() int32 { return answered(g.start()) }

//go:wasmexport csa_window
func exportWindow() int64 {
	return int64(uintptr(unsafe.Pointer(unsafe.SliceData(g.window))))<<32 | int64(len(g.window))
}

//go:wasmexport csa_reseed
func exportReseed() { g.reseed(); others() }

//go:wasmexport csa_open
func exportOpen(conn int32) int32 { return answered(g.open(conn)) }

//go:wasmexport csa_data
func exportData(conn, length int32) int32 { return answered(g.data(conn, length)) }

//go:wasmexport csa_writable
func exportWritable(conn int32) { g.writable(conn); others() }

//go:wasmexport csa_secured
func exportSecured(conn, status int32) { g.secured(conn, status); others() }

//go:wasmexport csa_eof
func exportEOF(conn int32) { g.eof(conn); others() }

//go:wasmexport csa_closed
func exportClosed(conn, reason int32) { g.closed(conn, reason); others() }

//go:wasmexport csa_timer
func exportTimer(conn, token int32) { g.timer(conn, token); others() }

//go:wasmexport csa_result
func exportResult(token, status int32, revision int64, length int32) {
	g.result(token, status, revision, length)
	others()
}

//go:wasmexport csa_stop
func exportStop() { g.stop(); others() }

// answered is the result of a callback, behind which others run.
func answered(result int32) int32 {
	others()
	return result
}

// others has the goroutines that are ready go on, since Go runs none between two callbacks. Nothing
// tells that each of them waits again: they have had their turn when a few hundred switches have
// ended and begun none. Where there are none this costs some 60 ns.
func others() {
	for n, calm := runtime.NumGoroutine(), 0; n > 1 && calm < 8+n/8; calm++ {
		runtime.Gosched() // which comes back after 61 switches, if not before
		if now := runtime.NumGoroutine(); now != n {
			n, calm = now, 0
		}
	}
}
