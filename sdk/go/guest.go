package guest

import (
	"math/rand/v2"
	"strconv"
)

// DefaultWindow is the length of the window when SetWindow was not called, in
// bytes.
const DefaultWindow = 64 << 10

// instance is what there is once a guest: its handler, its window and its connections.
type instance struct {
	handler Handler
	writer  Writer  // the handler, if it is one
	securer Securer // likewise

	window []byte
	size   int // wished for; 0: DefaultWindow

	conns map[int32]*Conn
	spare *Conn // for the next connection
	warm  any   // what prepare allocates
	last  *Conn // the one that was looked up last: most events come in runs

	results map[int32]func(Result, error) // what is under way, by token; nil until there is some
	token   int32                         // the last one given

	rand   *rand.Rand // nil until Rand
	source *rand.ChaCha8
}

var g instance

func (g *instance) register(h Handler) {
	g.handler = h
	g.writer, _ = h.(Writer)
	g.securer, _ = h.(Securer)
}

// SetWindow asks for a window of n bytes, MinWindow to MaxWindow: the most that
// one Data can be given, and so the longest message that a handler can wait for
// without a buffer of its own. It is to be called before or in Starter.Start;
// later it does nothing. Another n keeps the instance from starting.
func SetWindow(n int) {
	if g.window == nil {
		g.size = n
	}
}

// What follows is what the exports do. Each is called by the host alone.

func (g *instance) start() int32 {
	if g.handler == nil {
		Log(LogError, "no handler is registered: call guest.Register from an init function")
		return int32(NotFound)
	}
	g.conns = make(map[int32]*Conn)
	if s, ok := g.handler.(Starter); ok {
		config := Config()
		if len(config) == 0 {
			config = []byte("{}")
		}
		if err := s.Start(config); err != nil {
			Log(LogError, "start: "+err.Error())
			code, _ := codeOf(err)
			return int32(code)
		}
	}
	size := g.size
	if size == 0 {
		size = DefaultWindow
	}
	if size < MinWindow || size > MaxWindow {
		Log(LogError, "SetWindow("+strconv.Itoa(size)+"): a window has "+strconv.Itoa(MinWindow)+" to "+strconv.Itoa(MaxWindow)+" bytes")
		return int32(Invalid)
	}
	// It is reachable from g, and Go does not move what it has allocated, so
	// the host may keep its address.
	g.window = make([]byte, size)
	g.prepare()
	return 0
}

// prepare allocates what the first connection takes, and something of each size that
// is common. An instance that is copied from here finds Go's allocator warm: it writes
// to eight pages fewer for a connection, and pages are what it costs.
func (g *instance) prepare() {
	g.spare = new(Conn)
	g.conns[0] = g.spare // which is no connection's
	delete(g.conns, 0)
	for n := 8; n <= 512; n += n/4/8*8 + 8 { // about the sizes that the allocator has
		g.warm = make([]byte, n)
		g.warm = make([]*byte, n/8) // memory with pointers is kept apart
	}
	g.warm = nil
}

func (g *instance) find(handle int32) *Conn {
	if c := g.last; c != nil && c.handle == handle {
		return c
	}
	c := g.conns[handle]
	if c != nil {
		g.last = c
	}
	return c
}

func (g *instance) open(handle int32) int32 {
	c := g.find(handle)
	if c == nil {
		if c = g.spare; c == nil {
			c = new(Conn)
		}
		g.spare = nil
		c.handle = handle
		g.conns[handle] = c
		g.last = c
	} else if !c.opened() {
		return 0 // the handler has closed it since
	}
	if err := g.handler.Open(c); err != nil {
		return c.refuse("Open", err)
	}
	return 0
}

func (g *instance) data(handle, n int32) int32 {
	c := g.find(handle)
	switch {
	case c == nil || n < 0 || int(n) > len(g.window):
		return int32(Invalid)
	case c.is(closing):
		return n // nobody wants it any more
	case c.queue.len() > 0:
		return 0 // csa_writable will come, and then this again
	}
	used, err := g.handler.Data(c, g.window[:n:n])
	if err != nil && err != Again {
		if code, _ := codeOf(err); code != Again {
			return c.refuse("Data", err)
		}
	}
	if used < 0 || used > int(n) {
		Log(LogError, "Data says that it consumed "+strconv.Itoa(used)+" of "+strconv.Itoa(int(n))+" bytes; the connection is closed")
		c.set(closing)
		return int32(Invalid)
	}
	if c.is(closing) && !c.is(spliced) {
		return n
	}
	return int32(used)
}

// opened is what a dialled connection has left to do when it is up: what was queued
// before that. It reports whether the handler still wants it.
func (c *Conn) opened() bool {
	if !c.is(pending) {
		return false // a host that opens it twice
	}
	c.unset(pending)
	if c.queue.len() == 0 && c.is(finished) {
		control(c.handle, finishSending) // to a connection that is not up it would be the end
	}
	c.flush()
	return !c.is(closing)
}

func (g *instance) secured(handle, status int32) {
	c := g.find(handle)
	if c == nil {
		return
	}
	if status < 0 {
		if c.is(closing) {
			return // the handler has closed it in mid-handshake, and hears Closed alone
		}
		c.set(closing)
		c.queue.drop()
	} else if c.flush(); c.is(closing) {
		return
	}
	if g.securer != nil {
		g.securer.Secured(c, errorOf(status))
	}
}

func (g *instance) writable(handle int32) {
	c := g.find(handle)
	if c == nil || !c.flush() || c.is(closing) {
		return
	}
	if g.writer != nil {
		g.writer.Writable(c)
	}
}

func (g *instance) eof(handle int32) {
	if c := g.find(handle); c != nil && !c.is(closing) {
		g.handler.EOF(c)
	}
}

func (g *instance) closed(handle, reason int32) {
	c := g.find(handle)
	if c == nil {
		return
	}
	delete(g.conns, handle)
	g.last = nil
	c.set(closing | stale)
	c.queue.drop()
	g.handler.Closed(c, errorOf(reason))
}

func (g *instance) timer(handle, token int32) {
	if handle < 0 {
		g.handler.Timer(nil, token)
	} else if c := g.find(handle); c != nil && !c.is(closing) {
		g.handler.Timer(c, token)
	}
}

func (g *instance) stop() {
	if s, ok := g.handler.(Stopper); ok {
		s.Stop()
	}
}
