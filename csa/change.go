package csa

// Budget is what the connection is charged to.
func (c *CSA) Budget() Budget { return c.wiring.Budget }

// Settings is what the connection goes by now.
func (c *CSA) Settings() *Settings { return c.wiring.Settings }

// SetSettings has the connection go by other settings from now on. IdleTimeout, Lifetime and
// UserTimeout count from when they would have counted with these from the beginning, so one that is
// over already ends the connection in the next turn. WriteTimeout and MinRate count for what the
// peer owes from now on, Linger and Pipes for what begins. What the socket holds is charged to the
// new SocketMemory. FirstByteTimeout is that of a connection which comes later; only none takes
// away the one that runs. Bytes that wait beyond a smaller inbox stay. It calls no handler.
func (c *CSA) SetSettings(s *Settings) {
	before := c.wiring.Settings
	c.wiring.Settings = s
	if c.is(frozen | dying | dead) { // GoOn looks at all of them
		return
	}
	if s.FirstByteTimeout <= 0 && !c.is(gotFirstByte) {
		c.noteFirstByte()
	}
	if (s.MinRate <= 0) != (before.MinRate <= 0) && c.is(gotFirstByte) {
		c.owed = 0 // nothing is owed without a rate, and with one a whole patience is left
	}
	if c.memory != nil {
		c.lookAtMemory()
	}
	c.keepTime()
	if c.behind != nil && c.behind.state == runs {
		c.wakeBy(c.nextOut())
	}
	if s.IdleTimeout > 0 {
		c.wakeBy(c.transport.lastMoved(c) + int64(s.IdleTimeout))
	}
	if s.Lifetime > 0 {
		c.wakeBy(c.born + int64(s.Lifetime))
	}
	if s.Messages.Ping > 0 {
		c.wakeBy(c.loop.Now() + int64(s.Messages.Ping))
	}
	if c.buffered.since != 0 && c.lookEvery() > 0 {
		c.wakeBy(c.loop.Now() + c.lookEvery())
	}
	if c.is(blocked) && !c.is(securing) && s.inbox() > before.inbox() {
		c.transport.moreRoom(c)
	}
}

// AskBudget is for a Budget that has grown. A connection that waits because its Budget has said so
// asks again in the next turn, and not only when the wait is over. AskBudget calls no handler.
func (c *CSA) AskBudget() {
	t := c.throttle
	if t == nil || c.is(frozen|dying|dead) {
		return
	}
	if c.is(slowIn) {
		c.loop.sel.SetTimer(&t.in, t, c.loop.Now())
	}
	if c.is(slowOut) {
		c.loop.sel.SetTimer(&t.out, t, c.loop.Now())
	}
}

// AskBudget is CSA.AskBudget of the socket that peers share. It is called on the loop.
func (s *DatagramSocket) AskBudget() {
	s.fitMemory()
	if s.in.Set() {
		s.loop.sel.SetTimer(&s.in, s, s.loop.Now())
	}
	if s.outTimer.Set() {
		s.loop.sel.SetTimer(&s.outTimer, s, s.loop.Now())
	}
}

// Socket is the descriptor of the connection's socket, to set options of it: it stays the
// connection's. It is -1 for a peer over UDP, and where the connection has ended.
func (c *CSA) Socket() int {
	if c.is(dying | dead) {
		return -1
	}
	return int(c.fd)
}

// Socket is the descriptor of the socket that peers share, likewise; -1 when it is closed.
func (s *DatagramSocket) Socket() int {
	if s.closed {
		return -1
	}
	return s.fd
}
