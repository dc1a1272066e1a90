package csa

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"bulkhead/abi"

	"golang.org/x/sys/unix"
)

// peer is a peer as docs/PEERS.md has them: what it reads and sends as time goes by, and what
// its system answers.
type peer struct {
	b  *bench
	c  *CSA
	fd int

	got      int64         // bytes it has read
	now      time.Duration // since it came
	answered time.Duration // when its system last answered
	asked    int           // how often it has not since then
	pause    time.Duration // between the last two times that it was asked
	asks     time.Duration // when it will be asked next
	busy     time.Duration
	away     bool  // nothing reaches it, or comes from it
	from     *peer // the other end of its relay
}

// peersKernel is the kernel of connections with such peers.
type peersKernel map[int]*peer

func (k peersKernel) unacknowledged(fd int) int { return int(k[fd].c.sent - k[fd].got) }

func (k peersKernel) look(fd int, w *peerInfo) {
	p := k[fd]
	*w = peerInfo{
		unacknowledged: k.unacknowledged(fd), known: true, silent: p.now - p.answered, busy: p.busy, asked: p.asked,
	}
}

// reads has the peer read up to n bytes of those that are there.
func (p *peer) reads(n int) {
	p.b.t.Helper()
	for buffer := make([]byte, 64<<10); n > 0; {
		k, err := unix.Read(p.fd, buffer[:min(n, len(buffer))])
		if err != nil || k == 0 {
			break
		}
		p.b.on(func() { p.got += int64(k) })
		n -= k
	}
}

func (p *peer) sends(text string) {
	p.b.t.Helper()
	if n, err := unix.Write(p.fd, []byte(text)); n != len(text) && !p.over() {
		p.b.t.Fatalf("the peer sent %d bytes: %v", n, err)
	}
	p.b.turns()
}

// every reports whether it is time for what happens so often.
func (p *peer) every(d time.Duration) bool { return p.now%d == 0 }

func (p *peer) over() (over bool) {
	p.b.on(func() { over = p.c.Over() })
	return over
}

// passes is what the systems of both ends do in a step of time.
func (p *peer) passes(step time.Duration) {
	p.b.on(func() {
		waits := p.c.sent > p.got
		if waits {
			p.busy += step
		}
		p.now += step
		switch {
		case !waits:
			p.pause, p.asks = 200*time.Millisecond, p.now+200*time.Millisecond
			if !p.away {
				p.asked = 0
			}
		case !p.away:
			// It answers what it was sent at once, and when it has no room, each question.
			p.asked, p.pause, p.asks = 0, 200*time.Millisecond, p.now+200*time.Millisecond
			p.answered = p.now - p.now%(7*time.Second)
		default:
			for p.asks <= p.now {
				p.asked++
				p.pause = min(2*p.pause, 7500*time.Millisecond)
				p.asks += p.pause
			}
		}
	})
}

// fills has bytes wait for the peer, in the socket and behind it.
func (p *peer) fills() {
	p.b.t.Helper()
	if p.from != nil {
		p.b.until("bytes wait", func() bool {
			_, err := unix.Write(p.from.fd, make([]byte, 32<<10))
			return err == unix.EAGAIN && p.c.unsent() || p.c.Over()
		})
		return
	}
	p.b.until("bytes wait", func() bool {
		for !p.c.Over() && !p.c.is(blocked) {
			p.c.Send(make([]byte, 32<<10))
		}
		return p.c.Over() || p.c.unsent()
	})
}

func (p *peer) sent(n int) {
	if p.from != nil {
		p.from.sends(string(make([]byte, n)))
		return
	}
	p.b.on(func() { p.c.Send(make([]byte, n)) })
}

// someone is a row of the table.
type someone struct {
	what  string // the row begins with
	keys  func(s *Settings)
	step  time.Duration
	joins bool // it is one end of a relay, and the other end is who sends
	begin func(p *peer)
	acts  func(p *peer) // in each step
}

var peersTable = []someone{
	{what: "reads 4,000 bytes a second of what waits for it", begin: (*peer).fills,
		acts: func(p *peer) { p.reads(4000); p.fills() }},
	{what: "reads 3,000 bytes a second of what its handler has long sent", keys: func(s *Settings) { s.IdleTimeout = 10 * time.Second },
		begin: func(p *peer) { p.sends("x\n"); p.sent(90_000) },
		acts:  func(p *peer) { p.reads(3000) }},
	{what: "reads nothing for 50 s, then all", begin: (*peer).fills,
		acts: func(p *peer) {
			if p.now == 50*time.Second {
				p.reads(1 << 30)
			}
			if p.now >= 50*time.Second && p.every(time.Minute) {
				p.sends("x\n")
			}
		}},
	{what: "reads nothing for 9 m, then all", keys: func(s *Settings) {
		s.WriteTimeout, s.MinRate, s.IdleTimeout = 10*time.Minute, 0, time.Hour
	}, begin: (*peer).fills,
		acts: func(p *peer) {
			if p.now >= 9*time.Minute {
				p.reads(1 << 30)
			}
		}},
	{what: "reads nothing any more, and bytes wait for it", begin: (*peer).fills},
	{what: "reads nothing any more, and bytes wait for it", keys: func(s *Settings) { s.WriteTimeout = 2 * time.Minute; s.MinRate = 0 },
		begin: (*peer).fills},
	{what: "reads nothing any more, and all that was sent fits into the socket",
		begin: func(p *peer) { p.sends("x\n"); p.sent(50_000) }},
	{what: "reads nothing for 50 s of what an upload brings (an upstream)", joins: true, begin: (*peer).fills,
		acts: func(p *peer) {
			if p.now >= 50*time.Second {
				p.reads(4000)
				p.fills()
			}
		}},
	{what: "reads nothing any more of what an upload brings (an upstream)", joins: true, begin: (*peer).fills},
	{what: "vanishes with bytes on their way to it", begin: func(p *peer) { p.sends("x\n"); p.away = true; p.sent(100) }},
	{what: "vanishes with bytes on their way to it", keys: func(s *Settings) { s.UserTimeout = 2 * time.Minute },
		begin: func(p *peer) { p.sends("x\n"); p.away = true; p.sent(100) }},
	{what: "vanishes while its handler sends on, every 10 s",
		begin: func(p *peer) { p.sends("x\n"); p.away = true; p.sent(100) },
		acts: func(p *peer) {
			if p.every(10 * time.Second) {
				p.sent(100)
			}
		}},
	{what: "vanishes when it has no room, and bytes wait for it",
		begin: func(p *peer) { p.fills(); p.away = true }},
	{what: "reads nothing for 40 s, and then vanishes", begin: (*peer).fills,
		acts: func(p *peer) { p.away = p.now >= 40*time.Second }},
	{what: "reads nothing for 40 s, and then vanishes", keys: func(s *Settings) { s.WriteTimeout, s.MinRate = 10*time.Minute, 0 },
		begin: (*peer).fills,
		acts:  func(p *peer) { p.away = p.now >= 40*time.Second }},
	{what: "vanishes when it has no room, and bytes wait for it", keys: func(s *Settings) { s.UserTimeout = 10 * time.Minute },
		begin: func(p *peer) { p.fills(); p.away = true }},
	{what: "is away for 25 s with bytes on their way to it",
		begin: func(p *peer) { p.sends("x\n"); p.away = true; p.sent(100) },
		acts: func(p *peer) {
			if p.away = p.now < 25*time.Second; !p.away {
				p.reads(1 << 30)
			}
			if p.every(time.Minute) {
				p.sends("x\n")
			}
		}},
	{what: "is sent something now and then, and is far away: 3 s until it answers", begin: func(p *peer) { p.sends("x\n") },
		acts: func(p *peer) {
			if p.every(31 * time.Second) { // when a look is due
				p.sent(10)
			}
			if p.now%(31*time.Second) == 3*time.Second {
				p.reads(10)
			}
			p.b.on(func() {
				if p.c.sent > p.got { // there was no answer yet
					p.away = true
				} else {
					p.away = false
				}
			})
		}},
	{what: "vanishes with bytes of an upload on their way to it (an upstream)", joins: true,
		begin: func(p *peer) { p.sends("x\n"); p.away = true; p.sent(100) }},
	{what: "says nothing from the beginning"},
	{what: "sends a byte of a line every 20 s",
		acts: func(p *peer) {
			if p.every(20 * time.Second) {
				p.sends("x")
			}
		}},
	{what: "sends a line every 4 minutes, for ever", step: time.Minute, begin: func(p *peer) { p.sends("hello\n") },
		acts: func(p *peer) {
			if p.every(4 * time.Minute) {
				p.sends("hello\n")
			}
		}},
	{what: "reads a byte every 20 s of what waits for it", begin: (*peer).fills,
		acts: func(p *peer) {
			if p.every(20 * time.Second) {
				p.reads(1)
			}
		}},
	{what: "reads a byte every 20 s of what waits for it", keys: func(s *Settings) { s.MinRate = 0 }, step: 20 * time.Second, begin: (*peer).fills,
		acts: func(p *peer) {
			if p.every(20 * time.Second) {
				p.reads(1)
			}
		}},
	{what: "sends lines without end, and reads no answer", begin: (*peer).fills,
		acts: func(p *peer) { p.sends("hello\n") }},
	{what: "reads nothing any more, and answers its system's questions for ever", keys: func(s *Settings) { s.WriteTimeout, s.MinRate = 0, 0 },
		begin: (*peer).fills},
}

func keysOf(s, d Settings) string {
	var keys []string
	say := func(name string, a, b time.Duration) {
		if a != b {
			keys = append(keys, fmt.Sprintf("`%s = %q`", name, short(a)))
		}
	}
	say("idle_timeout", s.IdleTimeout, d.IdleTimeout)
	say("write_timeout", s.WriteTimeout, d.WriteTimeout)
	say("user_timeout", s.UserTimeout, d.UserTimeout)
	if s.MinRate != d.MinRate {
		keys = append(keys, fmt.Sprintf("`min_rate = \"%dB/s\"`", s.MinRate))
	}
	if keys == nil {
		return "defaults"
	}
	return strings.Join(keys, ", ")
}

// short is a duration as a configuration has it.
func short(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// TestPeers has every peer of docs/PEERS.md come, and wants of each what the page says: when
// its connection is closed, and with which words.
func TestPeers(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/PEERS.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := make([]string, len(peersTable))
	t.Run("rows", func(t *testing.T) {
		for i, one := range peersTable {
			t.Run(strconv.Itoa(i), func(t *testing.T) {
				t.Parallel()
				rows[i] = one.row(t)
			})
		}
	})
	rest := string(page)
	for _, row := range rows {
		_, after, ok := strings.Cut(rest, row)
		if !ok {
			t.Errorf("docs/PEERS.md does not have, in its place:\n%s", row)
			continue
		}
		rest = after
	}
	for _, row := range systemsRows {
		if !strings.Contains(rest, row) {
			t.Errorf("docs/PEERS.md does not have, at its end:\n%s", row)
		}
	}
	_, table, _ := strings.Cut(string(page), "| a peer that |")
	if n := strings.Count(table, "\n| "); n != len(peersTable)+len(systemsRows) {
		t.Errorf("docs/PEERS.md has %d rows, and %d are known", n, len(peersTable)+len(systemsRows))
	}
}

// systemsRows are kept by the system alone; host/listen tests them.
var systemsRows = []string{
	"| vanishes while nothing is on its way to it | defaults | 1m30s | the peer has vanished |",
	"| is away for 70 s while nothing is on its way to it | defaults | not at all | |",
}

func (one someone) row(t *testing.T) string {
	defaults := Settings{
		IdleTimeout: 5 * time.Minute, FirstByteTimeout: time.Minute, WriteTimeout: time.Minute, MinRate: 100,
		UserTimeout: 30 * time.Second, Lifetime: 24 * time.Hour, Linger: 10 * time.Second,
	}
	set := defaults
	if one.keys != nil {
		one.keys(&set)
	}
	after, r := one.live(t, set)
	when, words := "not at all", ""
	if after > 0 {
		when, words = short(after), r.Why
		if r.Code != abi.Timeout {
			t.Errorf("%s: the code is %v", one.what, r.Code)
		}
	}
	if words != "" {
		words += " "
	}
	return fmt.Sprintf("| %s | %s | %s | %s|", one.what, keysOf(set, defaults), when, words)
}

// live has time go by until the connection is over, and says when that is; 0: not within
// twelve minutes, or two days where the steps are long.
func (one someone) live(t *testing.T, set Settings) (after time.Duration, r Reason) {
	b := newBench(t)
	*b.set = set
	b.clock.Advance(time.Hour) // 0 is no time
	kernel := peersKernel{}
	b.on(func() { b.loop.kernel = kernel })
	come := func() *peer {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range fds {
			if err := unix.SetNonblock(fd, true); err != nil {
				t.Fatal(err)
			}
		}
		t.Cleanup(func() { unix.Close(fds[1]) })
		p := &peer{b: b, fd: fds[1], pause: 200 * time.Millisecond, asks: 200 * time.Millisecond}
		kernel[fds[0]] = p
		p.c = b.wire(fds[0], lines())
		return p
	}
	p := come()
	all := []*peer{p}
	if one.joins {
		other := come()
		p.from = other
		all = append(all, other)
		other.sends("x\n")
		b.on(func() { Splice(p.c, other.c) })
	}
	if one.begin != nil {
		one.begin(p)
	}
	step, most := one.step, 12*time.Minute
	if step == 0 {
		step = time.Second
	} else {
		most = 48 * time.Hour
	}
	for !p.over() && p.now < most {
		for _, p := range all {
			p.passes(step)
		}
		b.clock.Advance(step)
		b.turns()
		if one.acts != nil && !p.over() {
			one.acts(p)
			b.turns()
		}
	}
	if p.over() {
		after = p.now
	} else {
		for _, p := range all {
			b.close(p.c)
		}
	}
	if one.joins {
		b.until("both are gone", func() bool { return b.loop.Len() == 0 })
		b.on(func() {
			if after > 0 && all[1].c.reason.Why != "the other end of its relay ended: "+p.c.reason.Why {
				t.Errorf("%s: the other end was told %v", one.what, all[1].c.reason)
			}
		})
	}
	b.on(func() { r = p.c.reason })
	return after, r
}
