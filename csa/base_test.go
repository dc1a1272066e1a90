package csa

import "testing"

// reads is a handler that says only what it reads into, and takes.
type reads struct {
	Base
	window []byte
}

func (r *reads) Window(*CSA) []byte        { return r.window }
func (r *reads) Data(_ *CSA, p []byte) int { return len(p) }

// A handler with a Base ends when its peer has.
func TestBase(t *testing.T) {
	b := newBench(t)
	for _, text := range []string{"", "hello"} {
		_, peer := b.tcp(&reads{window: make([]byte, 100)})
		send(t, peer, text)
		_ = peer.CloseWrite()
		b.until("it is over", func() bool { return b.loop.Len() == 0 })
	}
}
