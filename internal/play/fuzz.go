package play

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"bulkhead/csa"
	"bulkhead/host/conns"
	"bulkhead/internal/talk"
	"bulkhead/selector"
)

const (
	// mostGrown is by how many bytes what a handler holds may grow, and mostGrownPerByte for each
	// byte that it gets.
	mostGrown        = 16 << 20
	mostGrownPerByte = 64
	// mostShrinks is how many times a mutant is played to make it shorter, and mostSlowShrinks
	// where each time takes a second.
	mostShrinks     = 100
	mostSlowShrinks = 20
)

// faults are why a connection ends that no peer may cause, whatever it sends.
var faults = []csa.Cause{
	csa.Trapped, csa.HandlerFailed, csa.BadResult, csa.BadData, csa.EventTimeout, csa.StackFull, csa.MemoryFull,
	csa.TimersFull, csa.HandlesFull, csa.InstanceGone, csa.Unconsumed, csa.HostBug,
}

// Fuzzer plays mutants of conversations with a handler: what their clients send is changed, and cut
// at random. What comes back is compared with nothing that is written. A mutant fails when the
// handler does what it may not do whatever it gets: it traps, throws, is stopped, takes no more of
// what waits for it, holds much more memory, or answers otherwise when the same bytes come byte by
// byte or cut at random. Where a conversation has a connection end in such a way as it is written,
// the author wants that, and it is no failure.
type Fuzzer struct {
	handler Handler
	seed    uint64
	of      []mutable
	wanted  []string // causes
}

// mutable is a conversation that there are mutants of.
type mutable struct {
	c    *talk.Case
	sent []sent
}

// kept is what is kept of a conversation that went well.
type kept struct {
	sent   []sent
	causes []string // why connections have ended
}

// Fault is a mutant that fails.
type Fault struct {
	Case   *talk.Case
	Number uint64   // of the mutant, of those of its conversation
	What   string   // it does
	Log    []string // of the handler
	kind   string   // which two faults have in common if they are about the same
	whole  *outcome // where it is that something differs from this
	text   string
}

// Conversation is a conversation, as the text of a file, in which the clients send what makes the
// handler fail, and as little else as could be found. It fails until the handler is mended, unless
// memory is what it is about.
func (f *Fault) Conversation() string { return f.text }

// fuzzable reports whether mutants of the conversation can be played: its handler dials nobody and
// begins no TLS, and a client sends something.
func fuzzable(c *talk.Case) bool {
	sends := false
	for _, s := range c.Steps {
		switch s.Kind {
		case talk.Dial, talk.Secured:
			return false
		case talk.Send:
			sends = true
		}
	}
	return sends
}

// NewFuzzer plays the conversations as written, to learn what is sent; they must go well. It leaves
// out those in which the handler dials somebody or begins TLS, or no client sends anything. The
// same seed gives the same mutants. An error is as Play's, or says that none is left.
func NewFuzzer(ctx context.Context, h Handler, all []*talk.Case, seed uint64) (*Fuzzer, error) {
	z := &Fuzzer{handler: h, seed: seed}
	for _, c := range all {
		var k kept
		r, err := h.play(ctx, c, Written, nil, &k)
		if err != nil {
			return nil, err
		}
		if r.Failure != nil {
			return nil, fmt.Errorf("the conversation %q does not go as it is written, so there are no mutants of it: %w", c.Name, r.Failure)
		}
		z.wanted = append(z.wanted, k.causes...)
		if fuzzable(c) {
			z.of = append(z.of, mutable{c, k.sent})
		}
	}
	if len(z.of) == 0 {
		return nil, errors.New("there is no conversation to change: one is needed in which a client sends something, the handler dials nobody, and begins no TLS")
	}
	return z, nil
}

// Conversations is how many conversations there are mutants of.
func (z *Fuzzer) Conversations() int { return len(z.of) }

// Try plays the nth mutant, which is of each conversation in turn; nil: the handler is right about
// it. An error is as Play's.
func (z *Fuzzer) Try(ctx context.Context, n uint64) (*Fault, error) {
	m := &z.of[n%uint64(len(z.of))]
	n /= uint64(len(z.of))
	all := mutant(m.sent, rand.New(rand.NewPCG(z.seed, n)))
	f, err := z.examine(ctx, m.c, all, n)
	if f == nil || err != nil {
		return nil, err
	}
	all, f, err = z.shrink(ctx, m.c, all, f, n)
	if err != nil {
		return nil, err
	}
	f.Case, f.Number = m.c, n
	f.text = z.write(all, f)
	return f, nil
}

// outcome is how an exchange went.
type outcome struct {
	got   map[string][]byte // by party
	over  map[string]bool
	fault string // what the handler may not do; "": nothing
	kind  string
	log   []string
}

// examine plays what is sent as it is, and then cut, as n says.
func (z *Fuzzer) examine(ctx context.Context, c *talk.Case, all []sent, n uint64) (*Fault, error) {
	whole, err := z.exchange(ctx, c, all, Written)
	if err != nil {
		return nil, err
	}
	if whole.fault != "" {
		return &Fault{What: whole.fault, kind: whole.kind, Log: whole.log}, nil
	}
	way := cutting(all, n)
	cut, err := z.exchange(ctx, c, all, way)
	if err != nil {
		return nil, err
	}
	if cut.fault != "" {
		return &Fault{What: way.Name + ": " + cut.fault, kind: cut.kind, Log: cut.log}, nil
	}
	for _, party := range parties(all) {
		a, b := whole.got[party], cut.got[party]
		if bytes.Equal(a, b) && whole.over[party] == cut.over[party] {
			continue
		}
		return &Fault{kind: "differs", whole: whole, Log: cut.log, What: fmt.Sprintf("%s the handler answers otherwise: %s, not %s", way.Name, answer(b, cut.over[party]), answer(a, whole.over[party]))}, nil
	}
	return nil, nil
}

// mostPieces is about into how many pieces a mutant is cut, since the handler comes to rest behind
// each of them.
const mostPieces = 64

// cutting is how the nth mutant is cut: a short one byte by byte, in turn with at random.
func cutting(all []sent, n uint64) Variant {
	if size := total(all); size > mostPieces || n%2 == 1 {
		return Variant{Name: fmt.Sprintf("cut at random, seed %d", n), random: rand.New(rand.NewPCG(n, n)), piece: max(8, 2*size/mostPieces)}
	}
	return Variant{Name: "byte by byte", bytes: true}
}

// total is how many bytes are sent.
func total(all []sent) (n int) {
	for _, s := range all {
		n += len(s.bytes)
	}
	return n
}

func answer(got []byte, over bool) string {
	const most = 60
	text := fmt.Sprintf("%q", got[:min(len(got), most)])
	if len(got) > most {
		text += fmt.Sprintf(" and %d bytes more", len(got)-most)
	}
	if over {
		text += " and the end"
	}
	return text
}

// parties are those who send, in order.
func parties(all []sent) (names []string) {
	for _, s := range all {
		if !slices.Contains(names, s.party) && (s.other == nil || s.other.Kind != talk.Wait) {
			names = append(names, s.party)
		}
	}
	return names
}

// steps are the lines that send it.
func steps(all []sent) (steps []talk.Step) {
	for _, s := range all {
		if s.other != nil {
			steps = append(steps, *s.other)
			continue
		}
		steps = append(steps, talk.Step{Kind: talk.Send, Party: s.party, Text: talk.Text{{Bytes: s.bytes}}}, talk.Step{Kind: talk.Stretch})
	}
	return steps
}

// exchange plays what is sent, whatever comes back.
func (z *Fuzzer) exchange(ctx context.Context, of *talk.Case, all []sent, v Variant) (*outcome, error) {
	c := &talk.Case{Name: of.Name, Line: of.Line, Config: of.Config, Steps: steps(all)}
	s, err := z.handler.serve(context.WithoutCancel(ctx), c, v, &selector.Manual{})
	if err != nil {
		return nil, err
	}
	defer s.close()
	p := &player{stage: s, c: c, v: v, parties: map[string]*party{}, captures: talk.Captures{}, ctx: ctx, loose: true}
	defer p.closeAll()
	o := &outcome{got: map[string][]byte{}, over: map[string]bool{}}
	began := s.host.Stats().Tenants[0].Memory
	err = p.exchange()
	if f, ok := err.(*Failure); ok {
		o.fault, o.kind = f.What, "rest"
	} else if err != nil {
		return nil, err
	}
	p.judge(o, total(all), began, z.wanted)
	for _, one := range p.order {
		o.got[one.name], o.over[one.name] = bytes.Clone(one.rest()), one.over()
	}
	o.log = s.log.lines()
	return o, nil
}

// exchange sends all, one stretch after another.
func (p *player) exchange() error {
	if _, err := p.connect(talk.Client, p.c.Line); err != nil {
		return err
	}
	for i := range p.c.Steps {
		s := &p.c.Steps[i]
		if err := p.ctx.Err(); err != nil {
			return err
		}
		if s.Kind != talk.Send {
			if err := p.sendSegment(false); err != nil {
				return err
			}
		}
		if err := p.step(s); err != nil {
			return err
		}
	}
	return p.settle(p.line)
}

// judge says what the handler has done that it may not do, when all was sent.
func (p *player) judge(o *outcome, size int, began int64, wanted []string) {
	p.log.mu.Lock()
	for _, e := range p.log.ends {
		for _, c := range faults {
			if o.fault == "" && e.Cause == c.Info().Name && !slices.Contains(wanted, e.Cause) {
				o.fault, o.kind = e.Reason, e.Cause
			}
		}
	}
	p.log.mu.Unlock()
	if o.fault != "" {
		return
	}
	grown := p.host.Stats().Tenants[0].Memory - began
	if most := int64(mostGrown + mostGrownPerByte*size); grown > most {
		o.fault, o.kind = fmt.Sprintf("the handler holds %d bytes more for %d that it got; up to %d would be usual", grown, size, most), "memory"
		return
	}
	list, err := p.host.Connections(p.ctx, conns.Query{Limit: conns.MostListed})
	if err != nil {
		return
	}
	for _, c := range list.Connections {
		i := slices.IndexFunc(p.order, func(one *party) bool { return one.address == c.Peer })
		if i < 0 || c.Unconsumed == 0 || slices.Contains(c.State, "paused") {
			continue
		}
		if one := p.order[i]; !one.over() && !one.closed && one.unheard(&c) {
			o.fault, o.kind = fmt.Sprintf("the handler takes none of the %d bytes in its window, which is full, while more wait", c.Unconsumed), "window"
		}
	}
}

// shrink takes away from a mutant what its fault does not need.
func (z *Fuzzer) shrink(ctx context.Context, c *talk.Case, all []sent, f *Fault, n uint64) ([]sent, *Fault, error) {
	plays, most := 0, mostShrinks
	if f.kind == csa.EventTimeout.Info().Name {
		most = mostSlowShrinks
	}
	// fails reports whether less fails in the same way.
	fails := func(less []sent) (bool, error) {
		if plays++; plays > most {
			return false, nil
		}
		g, err := z.examine(ctx, c, less, n)
		if err != nil || g == nil || g.kind != f.kind {
			return false, err
		}
		all, f = less, g
		return true, nil
	}
	for i := len(all) - 1; i >= 0; i-- {
		if _, err := fails(slices.Delete(slices.Clone(all), i, i+1)); err != nil {
			return nil, nil, err
		}
	}
	for i := range all {
		for size := len(all[i].bytes) / 2; size > 0; size /= 2 {
			for at := 0; at+size <= len(all[i].bytes); {
				less := slices.Clone(all)
				less[i].bytes = slices.Delete(bytes.Clone(less[i].bytes), at, at+size)
				shorter, err := fails(less)
				if err != nil {
					return nil, nil, err
				}
				if !shorter {
					at += size
				}
			}
		}
	}
	return all, f, nil
}

// write writes the conversation of a fault.
func (z *Fuzzer) write(all []sent, f *Fault) string {
	lines := []string{fmt.Sprintf("# Mutant %d of %q, with seed %d: %s.", f.Number, f.Case.Name, z.seed, strings.Join(strings.Fields(f.What), " "))}
	if f.kind == "memory" {
		lines = append(lines, "# Only bulkhead try --fuzz fails because of that, not --script.")
	}
	var tables, own []string
	for _, s := range f.Case.Config {
		if s.Alone {
			own = append(own, "config "+s.TOML)
		} else {
			tables = append(tables, s.TOML)
		}
	}
	if len(tables) > 0 {
		lines = append(append(lines, "-- config.toml --"), tables...)
	}
	lines = append(lines, fmt.Sprintf("== mutant %d of %s", f.Number, f.Case.Name))
	lines = append(lines, own...)
	ended := false
	for i, s := range all {
		switch {
		case s.other == nil:
			if i > 0 && all[i-1].other == nil {
				lines = append(lines, "")
			}
			lines = append(lines, talk.Lines(s.party+">", s.bytes, "\r\n")...)
		case s.other.Kind == talk.Wait:
			lines = append(lines, "wait "+s.other.Wait.String())
		case s.other.Kind == talk.SendEOF:
			lines = append(lines, s.party+">EOF")
			ended = ended || s.party == talk.Client
		default:
			lines = append(lines, s.party+">RST")
			ended = ended || s.party == talk.Client
		}
	}
	if f.whole != nil { // which differs when it is cut
		for _, party := range parties(all) {
			lines = append(lines, talk.Lines(party+"<", f.whole.got[party], "\r\n")...)
			if f.whole.over[party] {
				lines = append(lines, party+"<EOF")
			}
		}
	} else {
		if !ended {
			lines = append(lines, ">EOF")
		}
		lines = append(lines, "closed OK")
	}
	return strings.Join(lines, "\n") + "\n"
}
