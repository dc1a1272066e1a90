package csa

// datagramMemory is what a DatagramSocket has taken of a share. All that its buffers have room for
// may fill, since nobody can be asked to send less, and they do not grow by themselves: so all of
// it is charged, beyond what any socket may hold, and they are made smaller where the share has no
// more.
type datagramMemory struct {
	share   SocketShare // nil: nobody's
	in, out fittedBuffer
}

// fittedBuffer is one of its two buffers.
type fittedBuffer struct {
	taken int
	want  int // how large it was before it was made smaller
	has   int // how large it is since
}

// ShareMemory charges what the socket may hold in the system to a share until it is closed; nil: to
// nobody. It is called again when somebody has set its buffers. Where the share has too little they
// become smaller, and datagrams that do not fit are lost, and counted. Only Linux tells how large
// they are: elsewhere nothing is charged.
func (s *DatagramSocket) ShareMemory(share SocketShare) {
	if s.closed {
		return
	}
	if m := &s.memory; m.share != share {
		m.release()
		m.share = share
	}
	s.fitMemory()
}

// fitMemory has the buffers be as large as they were wanted, or as the share has room for.
func (s *DatagramSocket) fitMemory() {
	m, k, w := &s.memory, s.loop.sockets, &s.loop.memoryInfo
	if s.closed || m.share == nil || !k.memory(s.fd, w) {
		return
	}
	in, out := m.in.fit(m.share, w.readBuffer, freeIn), m.out.fit(m.share, w.sendBuffer, freeOut)
	if in != w.readBuffer {
		k.setReadBuffer(s.fd, in)
	}
	if out != w.sendBuffer {
		k.setSendBuffer(s.fd, out)
	}
	if k.memory(s.fd, w) {
		m.in.has, m.out.has = w.readBuffer, w.sendBuffer
	}
}

// fit takes what a buffer of now bytes needs, of which free need nothing, and returns how large it
// is to be.
func (b *fittedBuffer) fit(share SocketShare, now, free int) int {
	if now != b.has {
		b.want = now // somebody has set it
	}
	more := max(0, b.want-free) - b.taken
	switch room := share.SocketRoom(b.taken); {
	case more < 0:
		share.ReturnSocketMemory(-more)
		b.taken += more
	case more == 0:
	case share.TakeSocketMemory(more, b.taken):
		b.taken += more
	case room > 0 && share.TakeSocketMemory(room, b.taken):
		b.taken += room
	}
	return min(b.want, free+b.taken)
}

// release gives everything back.
func (m *datagramMemory) release() {
	if n := m.in.taken + m.out.taken; n > 0 {
		m.share.ReturnSocketMemory(n)
	}
	m.in.taken, m.out.taken = 0, 0
}
