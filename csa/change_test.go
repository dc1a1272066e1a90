package csa

import (
	"testing"
	"time"
)

// Other settings hold at once for a connection that is there, up and down.
func TestSetSettings(t *testing.T) {
	for _, c := range []struct {
		name   string
		before Settings
		after  Settings
		early  time.Duration // it is alive so long after the change
		end    Cause
	}{
		{"idle, lowered", Settings{IdleTimeout: time.Hour}, Settings{IdleTimeout: time.Minute}, 40 * time.Second, IdleTimeout},
		{"idle, where there was none", Settings{}, Settings{IdleTimeout: time.Minute}, 40 * time.Second, IdleTimeout},
		{"idle, raised", Settings{IdleTimeout: 30 * time.Second}, Settings{IdleTimeout: time.Minute}, 40 * time.Second, IdleTimeout},
		{"idle, lowered below what has passed", Settings{IdleTimeout: time.Hour}, Settings{IdleTimeout: time.Second}, 0, IdleTimeout},
		{"lifetime, lowered", Settings{Lifetime: time.Hour}, Settings{Lifetime: time.Minute}, 40 * time.Second, Lifetime},
		{"first byte goes by what it was", Settings{FirstByteTimeout: time.Minute}, Settings{FirstByteTimeout: time.Hour}, 39 * time.Second, FirstByteTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			before, after := c.before, c.after
			before.Linger, after.Linger = time.Second, time.Second
			b.set = &before
			s := &script{}
			conn, _ := b.tcp(s)
			b.pass(20 * time.Second)
			b.on(func() { conn.SetSettings(&after) })
			if c.early > 0 {
				b.pass(c.early - time.Second)
				b.alive(conn, "early")
				b.pass(time.Second)
			} else {
				b.turns()
			}
			if conn.Settings() != &after {
				t.Error("it goes by others")
			}
			b.pass(time.Second)
			b.ended(s, c.end.Reason())
		})
	}
}

// None takes the timeout away, at once and for good.
func TestSetSettingsToNone(t *testing.T) {
	b := newBench(t)
	b.set = &Settings{IdleTimeout: time.Minute, FirstByteTimeout: time.Minute, Lifetime: time.Minute, MinRate: 1}
	c, peer := b.tcp(&script{})
	b.on(func() { c.SetSettings(&Settings{}) })
	b.pass(time.Hour)
	b.alive(c, "without any timeout")
	_ = peer.Close()
	b.until("it is over", func() bool { return b.loop.Len() == 0 })
}

// A peer that takes nothing is held to a WriteTimeout that came later; a larger inbox has a handler
// that waits for room go on at once.
func TestSetSettingsOfOneThatWaits(t *testing.T) {
	b := newBench(t)
	b.set = &Settings{Inbox: 4096, Linger: time.Second}
	room := 0
	s := &script{writabl: func(*CSA) { room++ }}
	c, peer := b.tcp(s)
	_ = peer.SetReadBuffer(64 << 10)
	b.until("bytes wait", func() bool {
		for !c.is(blocked) {
			c.Send(make([]byte, 64<<10))
		}
		return !c.d.WriteReady()
	})
	b.settled(c)
	b.passSlowly(10 * time.Minute)
	b.alive(c, "without a timeout")
	b.on(func() {
		room = 0
		c.SetSettings(&Settings{Inbox: 1 << 20, Linger: time.Second, WriteTimeout: time.Minute})
	})
	b.until("it is told of room", func() bool { return room == 1 })
	b.passSlowly(50 * time.Second)
	b.alive(c, "before the timeout")
	b.endsUntaken(c, s, 30*time.Second)
}

// Who keeps still for bandwidth goes on at once when there is more, and not before.
func TestAskBudget(t *testing.T) {
	b := newBench(t)
	s := &script{data: echo}
	c, peer := b.tcp(s)
	b.on(c.AskBudget) // it keeps not still
	b.acct.waitIn.Store(int64(time.Hour))
	send(t, peer, "a")
	b.until("it keeps still", func() bool { return c.is(slowIn) })
	b.on(c.AskBudget)
	b.turns()
	b.wantLog(s, "open")
	b.acct.waitIn.Store(0)
	b.acct.waitOut.Store(int64(time.Hour))
	b.on(c.AskBudget)
	b.until("the other direction keeps still", func() bool { return c.is(slowOut) })
	b.acct.waitOut.Store(0)
	b.on(c.AskBudget)
	wantRead(t, peer, "a")
	_ = peer.CloseWrite()
	b.ended(s, Orderly)
}
