package metertest

import (
	"encoding/binary"
	"fmt"
	"testing"

	"bulkhead/internal/wasmtest"
	"bulkhead/plugins/meter"
)

// pathBits are how many conditions a function of paths tells apart.
const pathBits = 6

// paths generates the body of a function of nothing but branches, and of work of
// different cost between them. What conditions come to are the bits of the parameter 1.
type paths struct {
	in     *entropy
	labels []int // of blocks -1, of loops the local that says how many turns are left
	locals int
	budget int
	code   []byte
}

func (p *paths) work() {
	for range 1 + p.in.n(6)*p.in.n(6) {
		p.code = append(p.code, 0x41, 0, 0x45, 0x1a) // i32.const 0, i32.eqz, drop
	}
}

// bit pushes one of the parameter's.
func (p *paths) bit() {
	p.code = append(p.code, 0x20, 1, 0x41, byte(p.in.n(pathBits)), 0x76, 0x41, 1, 0x71)
}

func (p *paths) block(op byte, counter, depth int) {
	p.code = append(p.code, op, 0x40)
	p.labels = append(p.labels, counter)
	p.statements(depth)
	if op == 0x04 && p.in.n(2) == 0 {
		p.code = append(p.code, 0x05)
		p.statements(depth)
	}
	if counter >= 0 { // around again, while there are turns left
		p.turn(counter)
		p.code = append(p.code, 0x0d, 0)
	}
	p.labels = p.labels[:len(p.labels)-1]
	p.code = append(p.code, 0x0b)
}

// turn pushes whether a loop has turns left, and takes one.
func (p *paths) turn(counter int) {
	l := byte(counter)
	p.code = append(p.code, 0x20, l, 0x41, 1, 0x6b, 0x22, l, 0x41, 0, 0x4a)
}

// target is a label that takes no counting: not one of a loop.
func (p *paths) target() (label byte, ok bool) {
	at := p.in.n(len(p.labels))
	return byte(at), p.labels[len(p.labels)-1-at] < 0
}

func (p *paths) statements(depth int) {
	for n := 1 + p.in.n(4); n > 0 && p.budget > 0; n-- {
		p.budget--
		kind := p.in.n(9)
		if depth == 0 {
			kind %= 5
		}
		switch kind {
		case 0, 1:
			p.work()
		case 2:
			label, ok := p.target()
			if !ok { // of a loop
				p.turn(p.labels[len(p.labels)-1-int(label)])
			} else {
				p.bit()
			}
			p.code = append(p.code, 0x0d, label)
		case 3:
			if label, ok := p.target(); ok && p.in.n(2) == 0 {
				p.code = append(p.code, pick(p.in, []byte{0x0c, label}, []byte{0x0f}, []byte{0x00})...)
			} else {
				p.work()
			}
		case 4:
			a, first := p.target()
			b, second := p.target()
			if first && second {
				p.bit()
				p.code = append(p.code, 0x0e, 1, a, b)
			}
		case 5:
			p.block(0x02, -1, depth-1)
		case 6, 7:
			p.bit()
			p.block(0x04, -1, depth-1)
		case 8:
			counter := p.locals
			p.locals++
			p.code = append(p.code, 0x41, byte(1+p.in.n(3)), 0x21, byte(counter))
			p.block(0x03, counter, depth-1)
		}
	}
}

// module has a function (i32, i32) that does nothing when the first parameter is 0.
// Else it goes where the bits of the second lead. The loop around it makes it
// pay for what it does there, and not for it at the entry.
func (p *paths) module() []byte {
	p.locals = 2
	p.labels = []int{-1, -1, -1} // the function, the if, and the loop, which is not branched to
	p.labels[2] = p.locals
	p.locals++
	p.statements(4)
	m := wasmtest.New()
	body := concat([]byte{0x20, 0, 0x04, 0x40, 0x03, 0x40}, p.code, []byte{0x0b, 0x0b, 0x0b})
	locals := binary.AppendUvarint([]byte{1}, uint64(p.locals-2))
	m.FuncRaw("f", "ii:", concat(locals, []byte{typeI32}, body))
	return m.Bytes()
}

// TestEveryPathIsPaid goes every way through generated functions, and wants each paid
// for to the unit: with what the entry costs known, nothing that is charged too
// much there can make up for what is missing elsewhere.
func TestEveryPathIsPaid(t *testing.T) {
	if meter.Cost(0x45) == 0 {
		t.Fatal("i32.eqz is free, and so no work")
	}
	e := newEngine(t, false)
	n := uint64(400)
	if raceDetector {
		n = 5
	}
	for seed := range n {
		b := (&paths{in: &entropy{seedBytes(seed)}, budget: 80}).module()
		p, err := e.compile(t.Context(), b)
		if err == nil {
			err = p.refused
		}
		if err == nil {
			err = e.compileCounted(t.Context(), p, b)
		}
		if err != nil {
			t.Fatalf("seed %d: %v\n%x", seed, err, b)
		}
		pay, count := newWorld(e, "metered", large), newCounter(e)
		calls := make([]func(...uint64) outcome, 2)
		for i, w := range []*world{pay, count} {
			ctx := w.context(t.Context())
			m, err := w.instantiate(ctx, p)
			if err != nil {
				t.Fatal(err)
			}
			calls[i] = func(args ...uint64) outcome {
				o, err := w.call(ctx, m, "f", args)
				if err != nil {
					t.Fatal(err)
				}
				return o
			}
		}
		over := func(args ...uint64) (units, slack int64, what string) {
			paid, done := calls[0](args...), calls[1](args...)
			if paid.trap != done.trap {
				t.Fatalf("seed %d: f%v: %s, want %s\n%x", seed, args, paid, done, b)
			}
			if paid.trap != nil {
				done.slack += 1 << 20 // what stood behind the trap
			}
			return paid.fuel - done.exact, done.slack, fmt.Sprintf("%d for instructions of %d", paid.fuel, done.exact)
		}
		entry, _, _ := over(0, 0)
		for path := range uint64(1 << pathBits) {
			units, slack, what := over(1, path)
			if units < entry || units > entry+slack {
				t.Fatalf("seed %d: the path %06b pays %s, with %d for the entry\n%x", seed, path, what, entry, b)
			}
		}
		p.close(t.Context())
	}
}
