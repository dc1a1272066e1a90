package guest

import "math/rand/v2"

// An instance may be a copy of one that had started, and so may others: what was
// drawn at random before is the same in all of them. The package's own source is
// seeded again in each copy. crypto/rand and Random ask the host each time and need
// nothing. But the top-level functions of math/rand, and the seeds of maps' hashes, are
// the Go runtime's, which cannot be told: they repeat from copy to copy.

// Reseeder is a Handler that keeps random state of its own from Start on, such as
// a seed or a secret.
type Reseeder interface {
	// Reseed says that the instance is a copy of one that had started. It is called
	// before anything else of the copy; what was drawn at random has to be drawn
	// again.
	Reseed()
}

// Rand is a source of numbers that no peer can guess, for what is drawn often:
// seeded by Random, and again in every copy of an instance. It is the same one each
// time.
func Rand() *rand.Rand {
	if g.rand == nil {
		g.source = rand.NewChaCha8(seed())
		g.rand = rand.New(g.source)
	}
	return g.rand
}

func seed() (s [32]byte) {
	if err := Random(s[:]); err != nil {
		panic("guest: the host has no random bytes: " + err.Error())
	}
	return s
}

func (g *instance) reseed() {
	if g.source != nil {
		g.source.Seed(seed())
	}
	if r, ok := g.handler.(Reseeder); ok {
		r.Reseed()
	}
}
