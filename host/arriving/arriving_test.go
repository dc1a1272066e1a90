package arriving

import (
	"math/rand/v2"
	"slices"
	"testing"
)

type conn struct {
	node   Node
	l      *List
	number uint64
}

func (c *conn) Account() Account { return Account{Number: c.number} }
func (c *conn) Kill()            { c.l.Remove(&c.node) }

// turns are those that were asked for.
type turns []func()

func (t *turns) post(f func()) bool { *t = append(*t, f); return true }

// next runs the next one, and reports whether there was one.
func (t *turns) next() bool {
	if len(*t) == 0 {
		return false
	}
	f := (*t)[0]
	*t = (*t)[1:]
	f()
	return true
}

// A walk visits each connection that is there from its begin to its turn, once, and nobody else,
// whoever comes and goes between its turns and in its visits.
func TestWalk(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		l := new(List)
		var all []*conn // that are in
		number := uint64(0)
		add := func() {
			number++
			c := &conn{l: l, number: number}
			l.Add(&c.node, c)
			all = append(all, c)
		}
		drop := func(i int) uint64 {
			c := all[i]
			all = slices.Delete(all, i, i+1)
			c.Kill()
			c.Kill() // which does nothing more
			if c.node.In() {
				t.Fatal("it is in a list, and was taken out")
			}
			return c.number
		}
		for range r.IntN(4 * slice) {
			add()
		}
		most := number
		gone := make(map[uint64]bool)
		var due turns
		var seen [2][]uint64
		over := 0
		visit := func(at int) func(Conn) bool {
			return func(c Conn) bool {
				n := c.Account().Number
				if n > most || gone[n] {
					t.Fatalf("round %d: %d is visited; it came later, or was gone", round, n)
				}
				seen[at] = append(seen[at], n)
				if at == 1 && r.IntN(3) == 0 {
					gone[drop(slices.IndexFunc(all, func(c *conn) bool { return c.number == n }))] = true
					return r.IntN(2) == 0
				}
				return true
			}
		}
		l.Walk(due.post, visit(0), func() { over++ })
		if r.IntN(2) == 0 {
			due.next()
		}
		l.Walk(due.post, visit(1), func() { over++ })
		for {
			for range r.IntN(20) {
				add()
				if n := drop(r.IntN(len(all))); n <= most {
					gone[n] = true
				}
			}
			if !due.next() {
				break
			}
		}
		if over != 2 || len(l.walks) != 0 {
			t.Fatalf("round %d: %d of 2 walks are over", round, over)
		}
		for at, some := range seen {
			visited := make(map[uint64]bool)
			for _, n := range some {
				if visited[n] {
					t.Fatalf("round %d: %d is visited twice", round, n)
				}
				visited[n] = true
			}
			for n := uint64(1); n <= most; n++ {
				if !visited[n] && !gone[n] {
					t.Fatalf("round %d: walk %d does not visit %d, which stays", round, at, n)
				}
			}
		}
		for len(all) > 0 {
			drop(r.IntN(len(all)))
		}
		if l.first != nil || l.last != nil {
			t.Fatal("nobody is in, and the list is not empty")
		}
	}
}

// A walk of an empty list is over at once, and each thing that is waited for has its word.
func TestEmpty(t *testing.T) {
	over := false
	new(List).Walk(nil, nil, func() { over = true })
	if !over {
		t.Error("the walk is not over")
	}
	words := make(map[string]bool)
	for a := FirstBytes; a <= Place; a++ {
		words[a.String()] = true
	}
	if len(words) != 4 {
		t.Errorf("the words are %v", words)
	}
}
