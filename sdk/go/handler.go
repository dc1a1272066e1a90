package guest

// Handler speaks a protocol on the connections of one instance. Embed Base and
// write the methods that matter. How many connections share an instance is the
// listener's choice; what belongs to one of them goes to Conn.Value.
//
// For one connection the calls are Open, then Data, Writable, Secured and Timer in any
// order, then EOF at most once, then Writable, Secured and Timer, then Closed exactly
// once. For one that Connect has made and that never came up, it is Closed alone.
// After the handler has closed a connection, only Closed comes; after Splice
// nothing does. No method is called while another one runs.
type Handler interface {
	// Open says that c was accepted, or that what Connect has begun is up
	// (Conn.Dialled). An error closes it at once, and Closed
	// follows with the error's Code; Refused is the one for a connection that
	// is not wanted.
	Open(c *Conn) error

	// Data hands over what has come from the peer, at least one byte, and
	// returns how many of them, from the first, it has consumed. The rest comes
	// again: with more behind it, when the inbox has room again after a short
	// Send, or after Conn.Resume. So half a message is left there, by returning
	// 0. A handler that consumes nothing of a full window gets no more: see
	// SetWindow.
	//
	// p is the window, and is overwritten after the call.
	//
	// The error Again means that the handler could not send: the rest comes
	// again when it can, so Data may return what Send did. Any other error
	// closes c at once, with what it has not sent yet; Closed follows with the
	// error's Code, or with Invalid when it has none, and then the error is
	// also logged. To say good-bye first, use Write and Close, and return nil.
	//
	// While bytes that Write has queued wait, no Data comes for c: a peer that
	// does not read its answers is not served further.
	//
	// Over UDP (Conn.Transport) each datagram comes in a Data of its own, and once: it may
	// be empty, what is not consumed of it is gone, and one that is longer than the
	// window is lost before it comes.
	Data(c *Conn, p []byte) (consumed int, err error)

	// EOF says that the peer has finished sending. The other direction stays
	// open until the handler closes it, so a handler must call Close here, or
	// later on. It never comes over UDP.
	EOF(c *Conn)

	// Closed is the last call for c, which is stale from now on. The reason is
	// nil for an orderly end, else a Code.
	Closed(c *Conn, reason error)

	// Timer says that a timer has fired. c is nil for one that was set with
	// the function SetTimer, which is the instance's own.
	Timer(c *Conn, token int32)
}

// Base is to be embedded in a handler: it has every method of Handler but Data.
// Open accepts, EOF closes the connection after what is unsent is sent, and the
// others do nothing.
type Base struct{}

// Open accepts the connection.
func (Base) Open(*Conn) error { return nil }

// EOF calls Close, as the peer has said all it had to say.
func (Base) EOF(c *Conn) { _ = c.Close() }

// Closed does nothing.
func (Base) Closed(*Conn, error) {}

// Timer does nothing.
func (Base) Timer(*Conn, int32) {}

// Starter is a Handler that wants to be told of the instance's start.
type Starter interface {
	// Start is called once, before any connection, with the listener's config
	// table as JSON ("{}" if it has none). The slice is the handler's to keep.
	// An error refuses to start: the host logs it, and the check command
	// reports it.
	Start(config []byte) error
}

// Writer is a Handler that wants to know when it can send again.
type Writer interface {
	// Writable says that c takes data again, after a Send that took less than
	// it was given. What Write has queued is sent before this. If Data has
	// left bytes unconsumed, they come again after this.
	Writable(c *Conn)
}

// Stopper is a Handler that wants to be told of the host's end.
type Stopper interface {
	// Stop says that the host drains: no new connection comes, and those that
	// are left are closed when its deadline is over.
	Stop()
}

// Register makes h the handler of the instance. It is to be called once, from
// an init function or in the initialization of a variable; it panics when h is
// nil or there is a handler already.
func Register(h Handler) {
	if h == nil {
		panic("guest: Register needs a handler")
	}
	if g.handler != nil {
		panic("guest: Register was called twice; an instance has one handler")
	}
	g.register(h)
}
