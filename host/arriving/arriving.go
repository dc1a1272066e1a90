// Package arriving lists the connections of a loop that are on their way to a server, and no CSA
// yet: those whose route is not known, and those that wait for a place there.
package arriving

import "net/netip"

// Conn is such a connection. Its methods are called on its loop.
type Conn interface {
	// Account says what is known of it.
	Account() Account
	// Kill closes it, since an operator wants that, and takes it out of its list.
	Kill()
}

// Account is what is known of a connection that arrives.
type Account struct {
	// Number is its own: csa.CSA.Number later.
	Number uint64
	// Accepted is when it was accepted, on its loop's clock.
	Accepted int64
	// Peer is the address of its other end. It is not valid where that has none.
	Peer netip.AddrPort
	// Unix says that it is over a Unix socket, and not TCP.
	Unix bool
	// Of is whose it is: the server of its listener, or of its route, if that is known.
	Of any
	// Awaits is what it waits for.
	Awaits Awaits
}

// Awaits is what a connection waits for that arrives.
type Awaits byte

// What a connection waits for.
const (
	FirstBytes  Awaits = iota // enough of them to know its route
	TLSHello                  // the rest of what a client of TLS begins with
	ProxyHeader               // the header of the PROXY protocol
	Place                     // at its route
	Request                   // for WebSocket
)

// String is the word for it.
func (a Awaits) String() string {
	return [...]string{"awaits-first-bytes", "awaits-tls-hello", "awaits-proxy-header", "awaits-place", "awaits-request"}[a]
}

// Node is a connection's place in a list. The zero value is in none.
type Node struct {
	conn       Conn
	next, prev *Node
}

// In reports whether it is in a list.
func (n *Node) In() bool { return n.conn != nil }

// List is one loop's, which calls all of its methods. The zero value is empty.
type List struct {
	first, last *Node
	walks       []*walk
}

// walk is a walk that is not over.
type walk struct {
	at, end *Node // whom it visits next, and last; nil: nobody
}

// Add puts a connection into the list, by a node that is in none.
func (l *List) Add(n *Node, c Conn) {
	*n = Node{conn: c, prev: l.last}
	if l.last != nil {
		l.last.next = n
	} else {
		l.first = n
	}
	l.last = n
}

// Remove takes it out, if it is in.
func (l *List) Remove(n *Node) {
	if !n.In() {
		return
	}
	for _, w := range l.walks {
		w.passed(n)
	}
	if n.prev != nil {
		n.prev.next = n.next
	} else {
		l.first = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	} else {
		l.last = n.prev
	}
	*n = Node{}
}

// passed has the walk not wait for a node any more that it has visited, or that is taken out.
func (w *walk) passed(n *Node) {
	switch {
	case w.at == n && w.end == n:
		w.at, w.end = nil, nil
	case w.at == n:
		w.at = n.next
	case w.end == n:
		w.end = n.prev
	}
}

// Walk visits those that are in the list now, unless they have left it by their turn: some in this
// turn, and others in later ones, which post asks for, as csa.Loop.Post does. When visit answers
// false, the next visit is in another turn. Those that come meanwhile are not visited. done is
// called when the last has been visited, which may be before Walk returns; it is not called if the
// loop stops before.
func (l *List) Walk(post func(func()) bool, visit func(c Conn) (more bool), done func()) {
	w := &walk{at: l.first, end: l.last}
	l.walks = append(l.walks, w)
	l.step(w, post, visit, done)
}

// slice is how many connections a walk visits in one turn.
const slice = 256

func (l *List) step(w *walk, post func(func()) bool, visit func(c Conn) bool, done func()) {
	more := true
	for n := 0; n < slice && w.at != nil && more; n++ {
		at := w.at
		w.passed(at)
		more = visit(at.conn)
	}
	if w.at != nil {
		post(func() { l.step(w, post, visit, done) })
		return
	}
	for i := range l.walks {
		if l.walks[i] == w {
			l.walks = append(l.walks[:i], l.walks[i+1:]...)
			break
		}
	}
	done()
}
