package csa

import "unsafe"

// The host functions, with slices in place of pointers.

func send(conn int32, p []byte) int32 {
	return hostSend(conn, unsafe.Pointer(unsafe.SliceData(p)), int32(len(p)))
}

func control(conn, what int32) int32 { return hostControl(conn, what) }
func receive(conn, on int32) int32   { return hostReceive(conn, on) }
func want(conn, n int32) int32       { return hostWant(conn, n) }

func info(conn, key int32, p []byte) int32 {
	return hostInfo(conn, key, unsafe.Pointer(unsafe.SliceData(p)), int32(len(p)))
}

func config(p []byte) int32 {
	return hostConfig(unsafe.Pointer(unsafe.SliceData(p)), int32(len(p)))
}

func timer(conn, token, ms int32) int32 { return hostTimer(conn, token, ms) }
func clock(which int32) int64           { return hostClock(which) }

func random(p []byte) int32 {
	return hostRandom(unsafe.Pointer(unsafe.SliceData(p)), int32(len(p)))
}

func logLine(level int32, p []byte) int32 {
	return hostLog(level, unsafe.Pointer(unsafe.SliceData(p)), int32(len(p)))
}

func count(name []byte, n int64) int32 {
	return hostCount(unsafe.Pointer(unsafe.SliceData(name)), int32(len(name)), n)
}

func connect(address []byte) int32 {
	return hostConnect(unsafe.Pointer(unsafe.SliceData(address)), int32(len(address)))
}

func makessl(conn, role int32, name []byte) int32 {
	return hostMakessl(conn, role, unsafe.Pointer(unsafe.SliceData(name)), int32(len(name)))
}

func splice(a, b int32) int32 { return hostSplice(a, b) }
