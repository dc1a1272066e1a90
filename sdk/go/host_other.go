//go:build !wasip1

package csa

import "bulkhead/sdk/go/internal/seam"

// Outside a sandbox the host is whatever a test has put there: see package
// csatest. Without one nothing works, and nothing breaks.

func init() {
	seam.Start = func() int32 { return g.start() }
	seam.Window = func() []byte { return g.window }
	seam.Reseed = func() { g.reseed() }
	seam.Open = func(conn int32) int32 { return g.open(conn) }
	seam.Data = func(conn, n int32) int32 { return g.data(conn, n) }
	seam.Writable = func(conn int32) { g.writable(conn) }
	seam.Secured = func(conn, status int32) { g.secured(conn, status) }
	seam.EOF = func(conn int32) { g.eof(conn) }
	seam.Closed = func(conn, reason int32) { g.closed(conn, reason) }
	seam.Timer = func(conn, token int32) { g.timer(conn, token) }
	seam.Stop = func() { g.stop() }
	seam.Swap = func(handler any) func() {
		old := g
		g = guest{size: old.size}
		if h, ok := handler.(Handler); ok {
			g.register(h)
		}
		return func() { g = old }
	}
}

func send(conn int32, p []byte) int32 {
	if seam.Host == nil {
		return int32(Unsupported)
	}
	return seam.Host.Send(conn, p)
}

func control(conn, what int32) int32 {
	if seam.Host == nil {
		return int32(Unsupported)
	}
	return seam.Host.Control(conn, what)
}

func receive(conn, on int32) int32 {
	if seam.Host == nil {
		return int32(Unsupported)
	}
	return seam.Host.Receive(conn, on)
}

func want(conn, n int32) int32 {
	if seam.Host == nil {
		return int32(Unsupported)
	}
	return seam.Host.Want(conn, n)
}

func info(conn, key int32, p []byte) int32 {
	if seam.Host == nil {
		return int32(Unsupported)
	}
	return seam.Host.Info(conn, key, p)
}

func config(p []byte) int32 {
	if seam.Host == nil {
		return int32(Unsupported)
	}
	return seam.Host.Config(p)
}

func timer(conn, token, ms int32) int32 {
	if seam.Host == nil {
		return int32(Unsupported)
	}
	return seam.Host.Timer(conn, token, ms)
}

func clock(which int32) int64 {
	if seam.Host == nil {
		return int64(Invalid)
	}
	return seam.Host.Clock(which)
}

func random(p []byte) int32 {
	if seam.Host == nil {
		return int32(Unsupported)
	}
	return seam.Host.Random(p)
}

func logLine(level int32, p []byte) int32 {
	if seam.Host == nil {
		return int32(Unsupported)
	}
	return seam.Host.Log(level, p)
}

func count(name []byte, n int64) int32 {
	if seam.Host == nil {
		return int32(Unsupported)
	}
	return seam.Host.Count(name, n)
}

func connect(address []byte) int32 {
	if seam.Host == nil {
		return int32(Unsupported)
	}
	return seam.Host.Connect(address)
}

func makessl(conn, role int32, name []byte) int32 {
	if seam.Host == nil {
		return int32(Unsupported)
	}
	return seam.Host.MakeSSL(conn, role, name)
}

func splice(a, b int32) int32 {
	if seam.Host == nil {
		return int32(Unsupported)
	}
	return seam.Host.Splice(a, b)
}
