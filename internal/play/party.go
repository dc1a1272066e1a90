package play

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"

	"bulkhead/host/proxy"
	"bulkhead/internal/talk"
)

// party is one end of a connection with the handler: a client, or who was dialled. What it gets it
// keeps, until a step compares it.
type party struct {
	name    string
	address string // as the handler and the log have it
	conn    *net.TCPConn
	raw     syscall.RawConn
	secure  *secure // nil: nothing is encrypted
	wrote   int64   // bytes that its socket took, encrypted if they are
	read    int64   // likewise, that it gave

	mu       sync.Mutex // of what a goroutine of secure's touches too
	out      []byte     // for the socket
	got      []byte
	taken    int // of got, that steps have compared
	eof      bool
	broken   bool // it was reset
	closed   bool // by this end: it was reset
	shut     bool // the socket is to be told that it sends no more
	finished bool // it was told
}

// who is the party in a sentence.
func (o *party) who() string {
	if o.name == talk.Client {
		return "the client"
	}
	return o.name
}

// client is the address of the nth client.
func client(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), uint16(40001+n))
}

// header tells the host of it, ahead of everything else.
func header(n int) []byte {
	return proxy.Append(nil, 2, client(n), netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, 1}), 7000))
}

// connect connects another client.
func (p *player) connect(name string, line int) (*party, error) {
	one, err := p.open(name, len(p.order))
	if err != nil {
		return nil, err
	}
	p.add(one)
	return one, p.settle(line)
}

// open connects the nth client.
func (p *player) open(name string, n int) (*party, error) {
	conn, err := net.Dial("tcp", p.address())
	if err != nil {
		return nil, err
	}
	one, err := p.newParty(name, client(n).String(), conn.(*net.TCPConn))
	if err != nil {
		return nil, err
	}
	one.send(header(n))
	return one, nil
}

func (p *player) newParty(name, address string, conn *net.TCPConn) (*party, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		conn.Close()
		return nil, err
	}
	one := &party{name: name, address: address, conn: conn, raw: raw}
	if p.v.short {
		_ = conn.SetReadBuffer(4 << 10)
	}
	return one, nil
}

// add has it take part in the conversation.
func (p *player) add(one *party) {
	p.parties[one.name] = one
	p.order = append(p.order, one)
}

// everyone are those of the conversation, and who comes and goes beside it.
func (p *player) everyone() []*party { return slices.Concat(p.order, p.visitors) }

func (p *player) closeAll() {
	for _, one := range p.everyone() {
		one.conn.Close()
		one.secure.end()
	}
}

// rest is what it has got and no step has compared.
func (o *party) rest() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.got[o.taken:]
}

// over reports whether nothing can come from the handler any more.
func (o *party) over() bool { return o.eof || o.broken || o.closed }

func (o *party) ending() string {
	switch {
	case o.closed:
		return "it has reset it"
	case o.broken:
		return "it was reset"
	}
	return "the handler has ended it"
}

// send gives the socket bytes; pump writes them.
func (o *party) send(b []byte) {
	if o.secure != nil {
		o.secure.write(b)
		return
	}
	o.mu.Lock()
	o.out = append(o.out, b...)
	o.mu.Unlock()
}

// finish says that it sends no more, behind what it has sent.
func (o *party) finish() {
	if o.secure != nil {
		o.secure.finish()
	}
	o.shut = true
	o.pump()
}

// reset breaks the connection off.
func (o *party) reset() {
	_ = o.conn.SetLinger(0)
	_ = o.conn.Close()
	o.closed = true
}

// pump writes and reads as much as the socket takes and has, and reports whether anything moved.
func (o *party) pump() (moved bool) {
	if o.closed {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.out) > 0 && !o.broken {
		n, err := o.tryWrite()
		if n > 0 {
			o.out, o.wrote, moved = o.out[n:], o.wrote+int64(n), true
		}
		if err != nil {
			o.out = nil // the other end takes nothing any more, which reading tells
		}
		if n <= 0 {
			break
		}
	}
	if len(o.out) == 0 && o.shut {
		o.shut, o.finished = false, true
		_ = o.conn.CloseWrite()
		moved = true
	}
	var b [16 << 10]byte
	for !o.eof && !o.broken {
		n, err := o.tryRead(b[:])
		if n > 0 {
			o.read += int64(n)
			if o.secure != nil {
				o.secure.feed(b[:n])
			} else {
				o.got = append(o.got, b[:n]...)
			}
		}
		switch {
		case err == io.EOF:
			o.eof = true
		case err != nil:
			o.broken = true
		case n == 0:
			return moved
		}
		moved = true
	}
	if o.eof || o.broken {
		o.secure.end()
	}
	return moved
}

// tryWrite and tryRead do not wait. 0 and no error is that the socket is full, or empty.
func (o *party) tryWrite() (n int, err error) {
	failed := o.raw.Write(func(fd uintptr) bool {
		n, err = syscall.Write(int(fd), o.out)
		return true
	})
	return settled(n, err, failed)
}

func (o *party) tryRead(b []byte) (n int, err error) {
	failed := o.raw.Read(func(fd uintptr) bool {
		n, err = syscall.Read(int(fd), b)
		return true
	})
	if n == 0 && err == nil && failed == nil {
		return 0, io.EOF
	}
	return settled(n, err, failed)
}

func settled(n int, err, failed error) (int, error) {
	switch {
	case failed != nil:
		return 0, failed
	case err == syscall.EAGAIN || err == syscall.EINTR:
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("the socket: %w", err)
	}
	return max(n, 0), nil
}
