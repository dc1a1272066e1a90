package csa

import "testing"

// A handler that says nothing of its own reads nothing, and ends when its peer has.
func TestBase(t *testing.T) {
	b := newBench(t)
	for _, text := range []string{"", "hello"} {
		c, peer := b.tcp(Base{})
		send(t, peer, text)
		_ = peer.CloseWrite()
		if text != "" {
			b.turns()
			b.on(func() {
				if c.received != 0 || c.Over() {
					t.Errorf("it has read %d bytes, or is over", c.received)
				}
			})
			b.close(c)
		}
		b.until("it is over", func() bool { return b.loop.Len() == 0 })
	}
}
