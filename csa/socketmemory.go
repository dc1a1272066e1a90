package csa

// SocketShare is how much memory the sockets of a tenant's connections may hold in the system,
// beyond what each may hold in any case: 128 KiB that are to be sent, and as much room for what
// comes. All sizes are bytes as the system counts them, its own overhead included. The methods are
// called on any loop, and neither block nor lock.
type SocketShare interface {
	// TakeSocketMemory takes n bytes, n > 0, for one direction of a socket that has taken held
	// already, or reports false.
	TakeSocketMemory(n, held int) bool
	// ReturnSocketMemory gives n bytes back.
	ReturnSocketMemory(n int)
	// SocketRoom is how many bytes one direction that has taken held could take now; zero or
	// less: none.
	SocketRoom(held int) int
}

const (
	// The system is asked again after 2^stepOut bytes that were sent, and 2^stepIn that have come.
	stepOut    = 16
	stepIn     = 17
	socketStep = 1 << stepOut
	// rarely is by how many powers of two that is less often while the share has room: a look
	// takes a tenth of the time that it takes to copy one step.
	rarely = 2
	// freeOut and freeIn are what a socket may hold in any case. freeIn is what the system
	// gives each when it is made.
	freeOut = 128 << 10
	freeIn  = 128 << 10
	// enoughRoom is how much there has to be in the share before a socket that is kept
	// small may grow again.
	enoughRoom = 4 * socketStep
	// memoryEvery is how often a socket that has taken something is looked at while
	// it moves nothing, and for how long at least one is kept small.
	memoryEvery = int64(1e9)
)

// memoryInfo is what the system says about one socket's memory, in bytes.
type memoryInfo struct {
	queued     int // to be sent, or not acknowledged
	sendBuffer int // how many that may be
	received   int // come, and not read
	readBuffer int // how many that may be
}

// socketSystem is the system's say about sockets' memory. Only Linux has one.
type socketSystem interface {
	// memory fills w in, or reports false where the system does not tell.
	memory(fd int, w *memoryInfo) bool
	// sendBufferSet reports whether somebody has set how large the buffer for sending is;
	// otherwise the system has it grow.
	sendBufferSet(fd int) bool
	// setSendBuffer has it be n bytes, and not grow.
	setSendBuffer(fd, n int)
	// setReadBuffer has the room for what comes be n bytes.
	setReadBuffer(fd, n int)
	// widenSendBuffer has it be n bytes again, and grow unless that was set.
	widenSendBuffer(fd, n int, set bool)
	// keepReadBuffer keeps the room for what comes from growing beyond the n bytes that it has.
	keepReadBuffer(fd, n int) bool
	// freeReadBuffer has it grow again.
	freeReadBuffer(fd int)
}

// socketMemory is what a connection has taken of a share. It is made when that first happens.
type socketMemory struct {
	share   SocketShare
	out, in int
	// While the socket is kept small: what its buffer for sending was before, and
	// whether somebody had set that.
	keptOut, keptIn bool
	until           int64 // for so long at least
	outWas          int
	outWasSet       bool
}

// movedMemory is called when n bytes have moved one way, total in all, and looks at what the
// socket holds after each 2^step of them, or each 2^(step+rarely) while its share has room.
func (c *CSA) movedMemory(total int64, n int, step uint) {
	before := total - int64(n)
	if total>>step == before>>step {
		return
	}
	if total>>(step+rarely) == before>>(step+rarely) {
		if share := c.wiring.Settings.SocketMemory; share == nil || share.SocketRoom(0) >= enoughRoom {
			return
		}
	}
	c.lookAtMemory()
}

// oneStep is as much of p as may go before the next look at what the socket holds: all of it while
// the share has room.
func (c *CSA) oneStep(p []byte) []byte {
	if len(p) > socketStep {
		if share := c.wiring.Settings.SocketMemory; share != nil && share.SocketRoom(0) < enoughRoom {
			return p[:socketStep]
		}
	}
	return p
}

// lookAtMemory asks the system what the socket holds and charges that to its share. Where the share
// has no more, the buffers stay as small as they are: the peer is asked to send less, and the
// socket takes less, so that who is slow is waited for. It returns when to look again.
func (c *CSA) lookAtMemory() (next int64) {
	share, m, l := c.wiring.Settings.SocketMemory, c.memory, c.loop
	if c.is(dead) || share == nil && m == nil || c.Transport() == "udp" {
		return never
	}
	fd, w := int(c.fd), &l.memoryInfo
	if !l.sockets.memory(fd, w) {
		return never
	}
	if m == nil {
		if w.queued <= freeOut && w.readBuffer <= freeIn && share.SocketRoom(0) >= socketStep {
			return never
		}
		m = &socketMemory{share: share}
		c.memory = m
	}
	if m.share != share {
		m.release()
		m.share = share
	}
	if share != nil {
		now := l.Now()
		m.chargeOut(l.sockets, fd, w, now)
		if c.Transport() == "tcp" {
			m.chargeIn(l.sockets, fd, w, now)
		}
	} else {
		m.widenOut(l.sockets, fd)
		m.widenIn(l.sockets, fd)
	}
	if m.out == 0 && !m.keptOut && !m.keptIn {
		return never
	}
	next = l.Now() + memoryEvery
	c.wakeBy(next)
	return next
}

// chargeOut charges what the socket holds to be sent.
func (m *socketMemory) chargeOut(k socketSystem, fd int, w *memoryInfo, now int64) {
	want := (max(0, w.queued-freeOut) + socketStep - 1) &^ (socketStep - 1)
	switch {
	case want <= m.out:
		m.returnOut(m.out - want)
	case m.share.TakeSocketMemory(want-m.out, m.out):
		m.out = want
	default:
		if !m.keptOut {
			m.keptOut, m.outWas, m.outWasSet = true, w.sendBuffer, k.sendBufferSet(fd)
			m.until = now + memoryEvery
		}
		if most := m.out + freeOut; w.sendBuffer > most {
			k.setSendBuffer(fd, most)
		}
		return
	}
	if m.keptOut && now >= m.until && m.share.SocketRoom(m.out) >= enoughRoom {
		m.widenOut(k, fd)
	}
}

// chargeIn charges the room that the socket has for what comes: all of it may fill while nobody
// reads, since the peer has been told of it. It grows while the connection is read, and no
// more when the share has none. What it has grown by before that was seen is not charged.
func (m *socketMemory) chargeIn(k socketSystem, fd int, w *memoryInfo, now int64) {
	more := max(0, w.readBuffer-freeIn) - m.in
	if more < 0 {
		m.share.ReturnSocketMemory(-more)
		m.in += more
	} else if more > 0 && m.share.TakeSocketMemory(more, m.in) {
		m.in += more
		more = 0
	}
	switch room := m.share.SocketRoom(m.in); {
	case !m.keptIn && (more > 0 || room < socketStep):
		m.keptIn = k.keepReadBuffer(fd, w.readBuffer)
		m.until = now + memoryEvery
	case m.keptIn && more <= 0 && now >= m.until && room >= enoughRoom:
		m.widenIn(k, fd)
	}
}

func (m *socketMemory) widenOut(k socketSystem, fd int) {
	if m.keptOut {
		k.widenSendBuffer(fd, m.outWas, m.outWasSet)
		m.keptOut = false
	}
}

func (m *socketMemory) widenIn(k socketSystem, fd int) {
	if m.keptIn {
		k.freeReadBuffer(fd)
		m.keptIn = false
	}
}

func (m *socketMemory) returnOut(n int) {
	if n > 0 {
		m.share.ReturnSocketMemory(n)
		m.out -= n
	}
}

// release gives everything back.
func (m *socketMemory) release() {
	if m.share != nil && m.out+m.in > 0 {
		m.share.ReturnSocketMemory(m.out + m.in)
	}
	m.out, m.in = 0, 0
}
