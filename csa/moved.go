package csa

import "sync/atomic"

// movedStream is the transport of a stream that has come from another process (Loop.Adopt), which
// may have the socket open yet, and takes the connection back if this process dies before it has
// begun. So the first time that anything is done with the socket is noted where that process sees
// it; and the end of the connection is said to the peer, which closing does not while another has
// the socket.
type movedStream struct {
	stream
	mark *atomic.Uint32 // nil: it has been noted, or nobody wants to know
	lost bool           // the other process has taken it back
}

// isStream reports whether the connection's transport is the stream as the socket has it.
func (c *CSA) isStream() bool {
	switch c.transport.(type) {
	case stream, *movedStream:
		return true
	}
	return false
}

// touch notes that the connection is not any more as it has come. It reports false where the other
// process has taken it back meanwhile: then it is that one's.
func (m *movedStream) touch() bool {
	if m.mark != nil {
		m.lost = !m.mark.CompareAndSwap(0, 1)
		m.mark = nil
	}
	return !m.lost
}

// takenBack is the reason of a connection that the other process has taken back.
var takenBack = Moved.Because("the process that it came from has taken it back")

func (m *movedStream) write(c *CSA, p []byte) int {
	if !m.touch() {
		c.kill(takenBack)
		return 0
	}
	return m.stream.write(c, p)
}

func (m *movedStream) sayEnd(c *CSA) bool {
	if !m.touch() {
		c.kill(takenBack)
		return false
	}
	return m.stream.sayEnd(c)
}

func (m *movedStream) readReady(c *CSA) {
	if !m.touch() {
		c.ShutdownMicroprocess(takenBack)
		return
	}
	m.stream.readReady(c)
}

func (m *movedStream) takeNoMore(*CSA) { m.touch() }

func (m *movedStream) close(c *CSA) {
	switch {
	case !m.touch():
		closeSocket(int(c.fd))
		return
	case c.unsent() || c.is(broken):
		resetShared(int(c.fd))
	default:
		_ = shutdownBoth(int(c.fd))
	}
	m.stream.close(c)
}
