package canary

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	w "bulkhead/internal/wasmtest"
)

// A secret is magic in its high half and the connection's number, which is not 0, in
// its low one. Whatever has the magic and another number is another's.
const magic = 0x41ca9a12

// visits is how many connections there were: the last one's number.
var visits atomic.Uint32

// patience is how long a client waits for anything. It is not how long things take, but
// what tells a hang.
const patience = 2 * time.Minute

// visitor is one connection's client.
type visitor struct {
	conn   net.Conn
	rng    *rand.Rand
	secret uint64
	kind   kind
	plain  bool // its instance is no copy of a snapshot
	poor   bool // its tenant has no memory to grow into
	nonce  uint64
	fired  uint32
}

// meet connects to a site as a new visitor.
func meet(s *site, rng *rand.Rand) (*visitor, error) {
	conn, err := net.Dial(s.network, s.address)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &visitor{conn: conn, rng: rng, secret: magic<<32 | uint64(visits.Add(1)), kind: s.kind, plain: s.plain}, nil
}

// visit leaves a secret at a site and ends in the way given. An error is a leak, or what
// should not have happened.
func visit(s *site, rng *rand.Rand, way *way) (*visitor, error) {
	v, err := meet(s, rng)
	if err != nil {
		return nil, err
	}
	defer v.conn.Close()
	if err := way.run(v); err != nil {
		return v, fmt.Errorf("connection %d, %s: %w", uint32(v.secret), way.name, err)
	}
	return v, nil
}

// say sends a message with some words of the secret behind the first, in one piece or
// two.
func (v *visitor) say(do, wishes, words int) error {
	b := make([]byte, 8*(1+words))
	for at := 8; at < len(b); at += 8 {
		binary.LittleEndian.PutUint64(b[at:], v.secret)
	}
	binary.LittleEndian.PutUint64(b, uint64(len(b))|uint64(do)<<32|uint64(wishes)<<40)
	if v.rng.IntN(8) == 0 {
		n := 1 + v.rng.IntN(len(b)-1)
		if _, err := v.conn.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	_, err := v.conn.Write(b)
	return err
}

// errLeak is inside of what says that somebody has seen what is not his.
var errLeak = errors.New("a leak")

// token is how the high half of every secret stands in memory.
var token = binary.LittleEndian.AppendUint32(nil, magic)

// mine fails when bytes have another's secret in them, wherever it begins.
func (v *visitor) mine(b []byte) error {
	for at := 0; ; at += len(token) {
		next := bytes.Index(b[at:], token)
		if next < 0 {
			return nil
		}
		at += next
		if at >= 4 {
			if number := binary.LittleEndian.Uint32(b[at-4:]); number != uint32(v.secret) {
				return fmt.Errorf("%w: byte %d of %d begins the secret of connection %d", errLeak, at-4, len(b), number)
			}
		}
	}
}

// hear reads a report and wants it to find nothing.
func (v *visitor) hear() error {
	var b [reportSize]byte
	if n, err := io.ReadFull(v.conn, b[:]); err != nil {
		return fmt.Errorf("%d bytes of a report: %w", n, err)
	}
	return v.judge(b[:])
}

func (v *visitor) judge(b []byte) error {
	if err := v.mine(b); err != nil {
		return err
	}
	word := func(at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
	half := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	flags := half(32)
	if v.poor {
		flags &^= notGrown
	}
	switch {
	case word(0) != v.secret:
		return fmt.Errorf("%w: the report is for %#x, not %#x", errLeak, word(0), v.secret)
	case word(8) != 0:
		return fmt.Errorf("%w: the word at %#x of its memory is %#x", errLeak, word(8)-1, word(16))
	case word(24) != 0:
		return fmt.Errorf("%w: its globals differ by %#x", errLeak, word(24))
	case flags != 0:
		return fmt.Errorf("%w: the flags are %#x", errLeak, flags)
	}
	reseeds := half(36)
	if want := uint32(0); v.kind.reseeds && !v.plain {
		if want = 1; reseeds != want {
			return fmt.Errorf("csa_reseed was called %d times", reseeds)
		}
		if v.nonce != 0 && v.nonce != word(40) {
			return fmt.Errorf("%w: its random number was %#x and is %#x", errLeak, v.nonce, word(40))
		}
		v.nonce = word(40)
	} else if reseeds != want {
		return fmt.Errorf("csa_reseed was called %d times in an instance that is no copy, or does not have it", reseeds)
	}
	if local := v.conn.LocalAddr(); local.Network() == "tcp" {
		if peer := string(b[56:min(56+int(half(48)), reportSize)]); peer != local.String() {
			return fmt.Errorf("%w: its peer is %s, and it is told that it is %s", errLeak, local, peer)
		}
	}
	v.fired += half(52)
	return nil
}

// toEnd reads until there is no more, whichever way it ends. limit is how much there
// may be.
func (v *visitor) toEnd(limit int) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(v.conn, int64(limit)+1))
	var e net.Error
	switch {
	case errors.As(err, &e) && e.Timeout():
		return b, fmt.Errorf("it does not end: %w", err)
	case len(b) > limit:
		return b, fmt.Errorf("it goes on behind %d bytes", limit)
	}
	return b, nil
}

// stain has the guest look, and leave the secret.
func (v *visitor) stain() error {
	words := 2 + v.rng.IntN(6)
	if v.rng.IntN(16) == 0 {
		words = 1 + v.rng.IntN(w.WindowSize/8-1)
	}
	var wishes int
	wish := func(of, n int) {
		if v.rng.IntN(of) == 0 {
			wishes |= n
		}
	}
	wish(50, allPages)
	wish(4, setTimers)
	wish(8, closeFile)
	wish(50, growBeyond)
	wish(200, longWork)
	wish(10, 1+v.rng.IntN(mostGrow))
	return v.say(doStain, wishes, words)
}

// way is a way to end.
type way struct {
	name   string
	weight int // of all
	run    func(v *visitor) error
}

// answered is stain, and the report.
func (v *visitor) answered() error {
	if err := v.stain(); err != nil {
		return err
	}
	if err := v.hear(); err != nil {
		return err
	}
	for v.rng.IntN(4) == 0 {
		if err := v.say(doCheck, 0, 1+v.rng.IntN(4)); err != nil {
			return err
		}
		if err := v.hear(); err != nil {
			return err
		}
	}
	return nil
}

// orderly are ways that end with a report.
func orderly(name string, weight, do int) way {
	return way{name, weight, func(v *visitor) error {
		if err := v.answered(); err != nil {
			return err
		}
		if err := v.say(do, 0, 1); err != nil {
			return err
		}
		if err := v.hear(); err != nil {
			return err
		}
		rest, err := v.toEnd(0)
		if err == nil && len(rest) > 0 {
			err = fmt.Errorf("%d bytes come behind the last report", len(rest))
		}
		return err
	}}
}

// sudden are ways that may end before the last report is there.
func sudden(name string, weight, do int) way {
	return way{name, weight, func(v *visitor) error {
		if err := v.answered(); err != nil {
			return err
		}
		if err := v.say(do, 0, 1); err != nil {
			return err
		}
		switch b, err := v.toEnd(reportSize); {
		case err != nil:
			return err
		case len(b) == reportSize:
			return v.judge(b)
		default:
			return v.mine(b)
		}
	}}
}

// reset closes so that the other side sees a reset.
func (v *visitor) reset() {
	if c, ok := v.conn.(*net.TCPConn); ok {
		_ = c.SetLinger(0)
	}
	v.conn.Close() // a unix socket: what it has not read makes it a reset
}

// afterSleep is the way that takes seconds.
const afterSleep = "after a sleep, the client closes"

// quickWays are ways that take no time of their own.
func quickWays() []way {
	return slices.DeleteFunc(ways(), func(w way) bool { return w.name == afterSleep })
}

// ways are all of them but for those that a host's limits end.
func ways() []way {
	return []way{
		orderly("producerFinished", 2500, doFinish),
		sudden("shutdownMicroprocess", 1000, doShutdown),
		sudden("a negative result", 800, doRefuse),
		sudden("a result that is too large", 400, doOverstep),
		sudden("a trap", 400, doTrap),
		sudden("a pointer beyond the memory", 100, doBeyond),
		orderly("a trap in csa_closed", 100, doTrapClosed),
		sudden("the stack's limit", 40, doRecurse),
		{afterSleep, 40, func(v *visitor) error {
			if err := v.answered(); err != nil {
				return err
			}
			// It sleeps after 2 to 3 seconds, if it has written to few pages.
			time.Sleep(2*time.Second + time.Duration(v.rng.IntN(2000))*time.Millisecond)
			if err := v.say(doCheck, 0, 1); err != nil {
				return err
			}
			return v.hear()
		}},
		{"the client closes", 1500, func(v *visitor) error { return v.answered() }},
		{"the client half-closes", 1000, func(v *visitor) error {
			if err := v.answered(); err != nil {
				return err
			}
			if err := v.conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				return err
			}
			_, err := v.toEnd(0)
			return err
		}},
		{"the client resets", 1000, func(v *visitor) error {
			if err := v.answered(); err != nil {
				return err
			}
			if err := v.say(doCheck, 0, 1); err != nil {
				return err
			}
			v.reset()
			return nil
		}},
		{"the client resets in the first event", 300, func(v *visitor) error {
			defer v.reset()
			return v.stain()
		}},
		{"the client resets in the middle of a call", 50, func(v *visitor) error {
			if err := v.answered(); err != nil {
				return err
			}
			defer v.reset()
			return v.say(doCheck, longWork, 1)
		}},
		{"the client closes in the middle of a message", 300, func(v *visitor) error {
			_, err := v.conn.Write(binary.LittleEndian.AppendUint64([]byte("\x00\x40\x00\x00\x01\x00\x00\x00"), v.secret))
			return err
		}},
		{"the client says nothing", 300, func(*visitor) error { return nil }},
		{"all it can hold is sent", 100, (*visitor).flooded},
		{"all it can hold is sent, and not read", 50, func(v *visitor) error {
			defer v.reset()
			if err := v.answered(); err != nil {
				return err
			}
			return v.say(doFlood, 0, w.WindowSize/8-1)
		}},
		{"all of its memory is looked at", 100, (*visitor).dumped},
	}
}

// flooded has the secret sent over and over, through all the buffers.
func (v *visitor) flooded() error {
	if err := v.answered(); err != nil {
		return err
	}
	if err := v.say(doFlood, 0, w.WindowSize/8-1); err != nil {
		return err
	}
	if err := v.hear(); err != nil {
		return err
	}
	b, err := v.toEnd(32 * w.WindowSize)
	if err != nil {
		return err
	}
	want := bytes.Repeat(binary.LittleEndian.AppendUint64(nil, v.secret), len(b)/8+1)
	if at := differ(b, want[:len(b)]); at >= 0 {
		return fmt.Errorf("%w: byte %d of %d is not of the secret: %x", errLeak, at, len(b), b[at&^7:min(at&^7+32, len(b))])
	}
	return nil
}

// differ is where two pieces of the same length do first, or -1.
func differ(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	at := 0
	for a[at] == b[at] {
		at++
	}
	return at
}

// fresh is the memory of an instance that has done nothing, but for the window.
var fresh = sync.OnceValue(func() []byte {
	var b []byte
	for at := 0; at < end; at += 8 {
		switch {
		case at >= w.WindowAt && at < w.WindowAt+w.WindowSize:
		case at >= patternFrom && at < patternTo:
			b = binary.LittleEndian.AppendUint64(b, pattern(at))
		default:
			b = binary.LittleEndian.AppendUint64(b, 0)
		}
	}
	return b
})

// dumped compares the memory of an instance that has done nothing with what the
// module says, byte for byte and without the guest's help.
func (v *visitor) dumped() error {
	if err := v.say(doDump, 0, 1); err != nil {
		return err
	}
	b, err := v.toEnd(len(fresh()))
	switch {
	case err != nil:
		return err
	case len(b) != len(fresh()):
		return fmt.Errorf("it sends %d bytes of its memory", len(b))
	}
	if v.kind.reseeds {
		clear(b[scratch : scratch+8]) // its random number
	}
	if at := differ(b, fresh()); at >= 0 {
		address := at
		if at >= w.WindowAt {
			address += w.WindowSize
		}
		return fmt.Errorf("%w: the byte at %#x is %#x and should be %#x; from there on it is %q", errLeak, address, b[at], fresh()[at], b[at:min(at+32, len(b))])
	}
	return nil
}
