// Package traffictest has clients talk to a host that is reloaded meanwhile, and wants that none of
// them notices.
package traffictest

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"bulkhead/internal/wasmtest"
)

// Versioned is a listener whose handler is Handler(version), of a version that changes.
type Versioned struct {
	Address   string
	low, high atomic.Int64
}

// Changes says that a reload to a version begins: from now on both answer.
func (v *Versioned) Changes(version int) { v.high.Store(int64(version)) }

// Changed says that it is over: new connections have the new version alone.
func (v *Versioned) Changed() { v.low.Store(v.high.Load()) }

// digits is how long an answer of Handler is.
const digits = 6

// Handler is a module that answers each piece of data with its version, below a million.
func Handler(version int) []byte {
	const answer = 64
	m, f := wasmtest.Handler([2]string{"send", "iii:i"})
	m.Data(answer, fmt.Sprintf("%0*d", digits, version))
	m.Func("csa_data", "ii:i", "",
		wasmtest.LocalGet(0), wasmtest.I32Const(answer), wasmtest.I32Const(digits), wasmtest.Call(f[0]), wasmtest.Drop, wasmtest.LocalGet(1))
	return m.Bytes()
}

// Clients are how many there are of each kind, and where they go.
type Clients struct {
	Echo                 string // an echo over TCP
	Echoing              int    // connections there, each with a message on its way at a time
	Visited              []*Versioned
	Visiting             int           // clients that connect to one of Visited after the other, ask, and close
	Datagrams            *Versioned    // over UDP, nil for none: one client that asks again and again
	Secure               *Versioned    // over TLS, nil for none: one client that visits it
	EchoPause, Pause     time.Duration // of an echoing, and of any other client, between two messages
	DatagramIsLostBeyond time.Duration
}

// Heard is what clients have heard.
type Heard struct {
	Echoes, Visits, Datagrams, Secure int64
	Lost                              int64 // datagrams without an answer
	Failed                            int64 // of everything else
	Failures                          []string
	P50, P99, Longest                 time.Duration // of an echo
}

// Traffic is clients at work.
type Traffic struct {
	clients  Clients
	stop     chan struct{}
	all      sync.WaitGroup
	mu       sync.Mutex
	heard    Heard
	took     []time.Duration
	sessions tls.ClientSessionCache
}

// patience is how long an answer may take that is to come.
const patience = 2 * time.Minute

// Start starts clients, which go on until Stop. It returns when all that stay are connected.
func Start(c Clients) (*Traffic, error) {
	t := &Traffic{clients: c, stop: make(chan struct{}), sessions: tls.NewLRUClientSessionCache(4)}
	for n := range c.Echoing {
		conn, err := net.Dial("tcp", c.Echo)
		if err != nil {
			t.Stop()
			return nil, err
		}
		t.all.Go(func() {
			defer conn.Close()
			said, heard := bytes.Repeat([]byte{byte(n)}, 64), make([]byte, 64)
			for i := 0; t.pause(c.EchoPause); i++ {
				said[0] = byte(i)
				_ = conn.SetDeadline(time.Now().Add(patience))
				began := time.Now()
				if _, err := conn.Write(said); err != nil {
					t.fail("a connection that goes on: %v", err)
					return
				}
				if _, err := io.ReadFull(conn, heard); err != nil || !bytes.Equal(said, heard) {
					t.fail("a connection that goes on is answered otherwise: %v", err)
					return
				}
				t.echoed(time.Since(began))
			}
		})
	}
	for n := range c.Visiting {
		t.all.Go(func() {
			for i := n; t.pause(c.Pause); i++ {
				v := c.Visited[i%len(c.Visited)]
				t.count(t.ask(v, func() (net.Conn, error) { return net.Dial("tcp", v.Address) }), &t.heard.Visits)
			}
		})
	}
	if v := c.Secure; v != nil {
		config := &tls.Config{InsecureSkipVerify: true, ServerName: "a.test", ClientSessionCache: t.sessions}
		t.all.Go(func() {
			for t.pause(c.Pause) {
				t.count(t.ask(v, func() (net.Conn, error) { return tls.Dial("tcp", v.Address, config) }), &t.heard.Secure)
			}
		})
	}
	if c.Datagrams != nil {
		conn, err := net.Dial("udp", c.Datagrams.Address)
		if err != nil {
			t.Stop()
			return nil, err
		}
		t.all.Go(func() {
			defer conn.Close()
			for t.pause(c.Pause) {
				t.askDatagram(conn)
			}
		})
	}
	return t, nil
}

// pause reports whether to go on.
func (t *Traffic) pause(d time.Duration) bool {
	select {
	case <-t.stop:
		return false
	case <-time.After(d):
		return true
	}
}

// ask visits a listener, once.
func (t *Traffic) ask(v *Versioned, dial func() (net.Conn, error)) error {
	low := v.low.Load()
	conn, err := dial()
	if err != nil {
		return fmt.Errorf("a new connection was refused: %w", err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "?"); err != nil {
		return fmt.Errorf("a new connection: %w", err)
	}
	p := make([]byte, digits)
	if n, err := io.ReadFull(conn, p); err != nil {
		return fmt.Errorf("a new connection hears %q: %w", p[:n], err)
	}
	return v.check(p, low)
}

// check wants an answer of a version that is in force between low and now.
func (v *Versioned) check(answer []byte, low int64) error {
	version, err := strconv.ParseInt(string(answer), 10, 64)
	if high := v.high.Load(); err != nil || version < low || version > high {
		return fmt.Errorf("the answer %q is of no version between %d and %d", answer, low, high)
	}
	return nil
}

// askDatagram has a datagram answered, by a handler of whatever version its peer has.
func (t *Traffic) askDatagram(conn net.Conn) {
	p := make([]byte, 64)
	_, err := io.WriteString(conn, "?")
	n := 0
	if err == nil {
		_ = conn.SetReadDeadline(time.Now().Add(t.clients.DatagramIsLostBeyond))
		n, err = conn.Read(p)
	}
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		t.mu.Lock()
		t.heard.Lost++
		t.mu.Unlock()
		return
	}
	if err == nil {
		err = t.clients.Datagrams.check(p[:n], 0)
	}
	t.count(err, &t.heard.Datagrams)
}

func (t *Traffic) count(err error, good *int64) {
	if err != nil {
		t.fail("%v", err)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	*good++
}

func (t *Traffic) echoed(took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heard.Echoes++
	t.took = append(t.took, took)
}

func (t *Traffic) fail(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.heard.Failed++; len(t.heard.Failures) < 10 {
		t.heard.Failures = append(t.heard.Failures, fmt.Sprintf(format, args...))
	}
}

// Take answers what has been heard since the last Take, or since Start.
func (t *Traffic) Take() Heard {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.heard
	slices.Sort(t.took)
	if n := len(t.took); n > 0 {
		h.P50, h.P99, h.Longest = t.took[n/2], t.took[n*99/100], t.took[n-1]
	}
	t.heard, t.took = Heard{}, nil
	return h
}

// Stop ends all clients, each when it has been answered, and answers what they have heard since the
// last Take.
func (t *Traffic) Stop() Heard {
	close(t.stop)
	t.all.Wait()
	return t.Take()
}
