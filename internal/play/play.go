// Package play plays conversations (package talk) with a handler: it serves the handler in this
// process, on the host that serves everybody, and is its clients and those whom it dials. Time is
// virtual, the time of day and random bytes are fixed, so a conversation goes the same way each
// time.
package play

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"bulkhead/host"
	"bulkhead/internal/talk"
	"bulkhead/selector"
)

// Handler is what is played with.
type Handler struct {
	// Plugin is the path of a module or a script.
	Plugin string
	// Instance is the listener's instance: "connection", "loop" or "listener"; "": connection.
	Instance string
	// Compiler is host.Options.Compiler.
	Compiler []string
	// State is a folder that keeps what was compiled, from one conversation to the next.
	State string
	// Engines is host.Options.Engines: each conversation is on a host of its own.
	Engines *host.Engines
	// SampleEvery is how much fuel the handler uses, on average, from one look at its stack to the
	// next, for a Profile, as host.Observer has it. Zero or less: nobody looks.
	SampleEvery int64
}

// Report is how a conversation went.
type Report struct {
	Case    *talk.Case
	Variant Variant
	Failure *Failure // nil: it went as written
	Log     []string // what the handler has logged, and what the host says of it
	Fuel    int64    // that the handler has used, its start left out
	Events  int      // of its connections
	// Costs are its parts, by line, in the order in which they came about.
	Costs []Cost
}

// Failure is where a conversation went otherwise than written.
type Failure struct {
	Line int // of the file
	What string
	// Want and Got are compared, from the first byte that differs on; nil: there is nothing to
	// compare.
	Want, Got []byte
	// Pattern is the pattern that Got does not match; "": there is none.
	Pattern string
	// Dialled is whom the handler dials, where no line says who answers.
	Dialled string
}

// Error is the failure in a line, without the place.
func (f *Failure) Error() string { return f.What }

const (
	// longest is for how long the player waits, by the clock on the wall, for a handler that does
	// not come to rest, and manyTries how often it looks at least: on a machine that has a
	// thousand times as much to do, that takes longer.
	longest   = time.Minute
	manyTries = 10_000
	// mostAnswered is for how many bytes of an answer time does not matter: whoever gets some of
	// them, in however small pieces, has longest begin anew.
	mostAnswered = 16 << 20
	// longestTurn is for how long it waits for one look.
	longestTurn = 10 * time.Minute
)

// Play plays a conversation in a variant. An error is none of the conversation's: the handler does
// not load, or ctx is done.
func Play(ctx context.Context, h Handler, c *talk.Case, v Variant) (*Report, error) {
	return h.play(ctx, c, v, nil, nil)
}

func (h Handler) play(ctx context.Context, c *talk.Case, v Variant, u *updating, k *kept) (*Report, error) {
	written := c
	if v.ended {
		if c = endedAtOnce(c); c == nil {
			return nil, fmt.Errorf("the conversation %q cannot be played %s", written.Name, v.Name)
		}
	}
	s, err := h.serve(ctx, c, v, &selector.Manual{})
	if f, ok := errors.AsType[*Failure](err); ok {
		return &Report{Case: written, Variant: v, Failure: f}, nil
	}
	if err != nil {
		return nil, err
	}
	defer s.close()
	p := &player{stage: s, c: c, v: v, parties: map[string]*party{}, captures: talk.Captures{}, ctx: ctx, updating: u, kept: k}
	report := &Report{Case: written, Variant: v}
	err = p.play()
	if f, ok := errors.AsType[*Failure](err); ok {
		report.Failure, err = f, nil
	}
	p.measure()
	if k != nil {
		k.causes = s.log.causes()
	}
	report.Log, report.Fuel, report.Events, report.Costs = s.log.lines(), p.fuel, p.events, p.costs
	p.closeAll()
	return report, err
}

type player struct {
	*stage
	ctx      context.Context
	c        *talk.Case
	v        Variant
	parties  map[string]*party
	order    []*party
	visitors []*party // of the variant beside
	begun    []byte   // the first segment, likewise
	captures talk.Captures
	updating *updating // nil: it goes as written, or fails
	loose    bool      // of a mutant: what the parties send need not be taken, and dials are refused
	kept     *kept     // for mutants; nil: there will be none
	sending  *party    // whose segment is being put together
	segment  []byte
	from     int // the line where the segment begins
	until    int // and where it ends
	line     int // of the last step
	logAt    int // how many lines of the log are compared
	fuel     int64
	events   int
	memory   int64 // that the handler holds
	costs    []Cost
}

// failed is a failure at a step.
func failed(line int, format string, args ...any) error {
	return &Failure{Line: line, What: fmt.Sprintf(format, args...)}
}

func (p *player) play() error {
	p.line = p.c.Line
	p.expectDials(p.c.Steps)
	if _, err := p.connect(talk.Client, p.c.Line); err != nil {
		return err
	}
	p.noteAnswers(p.beforeSteps())
	for i := 0; i < len(p.c.Steps); i++ {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		step := &p.c.Steps[i]
		if step.Kind != talk.Stretch {
			p.line = step.Line
		}
		if step.Kind != talk.Send || p.sending != nil && p.sending.name != step.Party {
			ends := p.v.ended && step.Kind == talk.SendEOF
			if err := p.sendSegment(ends); err != nil {
				return err
			}
			if ends {
				continue
			}
		}
		if step.Kind == talk.Expect && p.updating != nil {
			one, err := p.party(step)
			if err != nil {
				return err
			}
			n, err := p.block(p.c.Steps[i:], one)
			if err != nil {
				return err
			}
			i += n - 1
			continue
		}
		if err := p.step(step); err != nil {
			return err
		}
	}
	if err := p.sendSegment(false); err != nil {
		return err
	}
	if err := p.settle(p.line); err != nil {
		return err
	}
	if p.updating != nil {
		p.updateRest()
	}
	return p.nothingLeft()
}

// beforeSteps is the line behind which what comes unasked stands.
func (p *player) beforeSteps() int {
	if len(p.c.Steps) == 0 {
		return p.c.Last
	}
	return p.c.Steps[0].Line - 1
}

// nothingLeft fails if a party has got what no line has.
func (p *player) nothingLeft() error {
	for _, one := range p.order {
		if rest := one.rest(); len(rest) > 0 {
			return &Failure{Line: p.line, What: fmt.Sprintf("the conversation is over, and %s has got more", one.who()), Got: rest}
		}
	}
	for _, d := range p.dials.unasked() {
		return failed(d.step.Line, "the handler has not dialled %s", d.step.Address)
	}
	return nil
}

// party is who a step is of: a client connects when it is first named.
func (p *player) party(s *talk.Step) (*party, error) {
	if one := p.parties[s.Party]; one != nil {
		return one, nil
	}
	if p.dials.expects(s.Party) {
		return nil, failed(s.Line, "the handler has not dialled yet who is called %s", s.Party)
	}
	return p.connect(s.Party, s.Line)
}

func (p *player) step(s *talk.Step) error {
	if p.kept != nil && (s.Kind == talk.SendEOF || s.Kind == talk.SendRST || s.Kind == talk.Wait) {
		p.kept.sent = append(p.kept.sent, sent{party: s.Party, other: s})
	}
	switch s.Kind {
	case talk.Stretch:
		return nil
	case talk.Wait:
		return p.wait(s)
	case talk.Log:
		return p.logged(s)
	case talk.Count:
		return p.counted(s)
	case talk.Fuel:
		return p.within(s)
	case talk.Dial:
		return p.dialled(s)
	}
	one, err := p.party(s)
	if err != nil {
		return err
	}
	switch s.Kind {
	case talk.Send:
		if p.sending == nil {
			p.sending, p.from = one, s.Line
		}
		p.until = s.Line
		p.segment = append(p.segment, s.Text.Bytes(p.captures)...)
	case talk.Expect:
		return p.expect(s, one)
	case talk.SendEOF:
		one.finish()
		if p.updating != nil {
			if err := p.settle(s.Line); err != nil {
				return err
			}
			p.noteAnswers(s.Line)
		}
	case talk.SendRST:
		one.reset()
	case talk.GetEOF, talk.GetRST:
		return p.expectEnd(s, one)
	case talk.Closed:
		return p.closedWith(s, one)
	case talk.Secured:
		return p.secured(s, one)
	}
	return nil
}

// sendSegment sends what was put together, cut as the variant has it. ends: the end of what its
// party sends is part of it.
func (p *player) sendSegment(ends bool) error {
	one, segment, line := p.sending, p.segment, p.from
	p.sending, p.segment = nil, nil
	if one == nil {
		return nil
	}
	if p.hasEnded(one) {
		if p.loose {
			return nil
		}
		return failed(line, "%s sends, and its connection is over (%s)", one.who(), one.ending())
	}
	if p.kept != nil {
		p.kept.sent = append(p.kept.sent, sent{party: one.name, bytes: segment})
	}
	var visitor *party
	if p.v.beside {
		var err error
		if visitor, err = p.visitor(segment, line); err != nil {
			return err
		}
	}
	for _, piece := range p.v.cut(segment) {
		if ends {
			one.cork()
		}
		one.send(piece)
		if ends {
			one.finish()
		}
		if err := p.settle(line); err != nil {
			return err
		}
	}
	p.noteAnswers(p.until)
	return p.leave(visitor, line)
}

// hasEnded reports whether nothing that a party sends arrives any more. One that has got the end
// may send, as long as the handler's side has only ended what it sends.
func (p *player) hasEnded(one *party) bool {
	_, ended := p.log.end(one.address)
	return one.broken || one.closed || one.eof && ended
}

func (p *player) expect(s *talk.Step, one *party) error {
	if err := p.settle(s.Line); err != nil {
		return err
	}
	n, result := s.Match(one.rest(), p.captures)
	if result == talk.Matches {
		one.taken += n
		return nil
	}
	f := &Failure{Line: s.Line, Got: bytes.Clone(one.rest())}
	if s.Pattern != nil {
		f.Pattern = s.Pattern.String()
	} else {
		f.Want = s.Text.Bytes(p.captures)
	}
	switch {
	case result == talk.Differs:
		f.What = fmt.Sprintf("%s has got something else", one.who())
	case one.over():
		f.What = fmt.Sprintf("%s has not got all of it, and its connection is over (%s)", one.who(), one.ending())
	default:
		f.What = fmt.Sprintf("%s has not got all of it, and the handler waits for more", one.who())
	}
	return f
}

func (p *player) expectEnd(s *talk.Step, one *party) error {
	if p.updating != nil {
		return p.updateEnd(s, one)
	}
	if err := p.settle(s.Line); err != nil {
		return err
	}
	if rest := one.rest(); len(rest) > 0 {
		return &Failure{Line: s.Line, What: fmt.Sprintf("%s has got more before the end", one.who()), Got: bytes.Clone(rest)}
	}
	switch {
	case !one.eof && !one.broken:
		return failed(s.Line, "the connection of %s goes on", one.who())
	case s.Kind == talk.GetEOF && one.broken:
		return failed(s.Line, "the connection of %s was reset, not ended", one.who())
	case s.Kind == talk.GetRST && !one.broken:
		return failed(s.Line, "the connection of %s has ended in order, it was not reset", one.who())
	}
	return nil
}

func (p *player) closedWith(s *talk.Step, one *party) error {
	if err := p.settle(s.Line); err != nil {
		return err
	}
	if one.eof && !one.finished && !one.shut {
		one.finish() // as a client does that has got the end
		if err := p.settle(s.Line); err != nil {
			return err
		}
	}
	end, ok := p.log.end(one.address)
	switch {
	case !ok && p.updating != nil:
		p.updating.edits.Drop(s.Line)
	case !ok:
		return failed(s.Line, "the connection of %s goes on", one.who())
	case end.Code != s.Code && p.updating != nil:
		p.updating.edits.Replace(s.Line, partyPrefix(one.name)+"closed "+end.Code)
	case end.Code != s.Code:
		return failed(s.Line, "the connection of %s has ended with %s, not with %s: %s", one.who(), end.Code, s.Code, end.Reason)
	}
	return nil
}

func (p *player) wait(s *talk.Step) error {
	if err := p.settle(s.Line); err != nil {
		return err
	}
	// From timer to timer, each of which may set others.
	for left := s.Wait; left > 0; {
		d, ok := p.clock.Next()
		if !ok || d > left {
			d = left
		}
		p.clock.Advance(d)
		left -= d
		if err := p.settle(s.Line); err != nil {
			return err
		}
	}
	p.noteAnswers(s.Line)
	return nil
}

func (p *player) logged(s *talk.Step) error {
	if err := p.settle(s.Line); err != nil {
		return err
	}
	want := string(s.Text.Bytes(p.captures))
	all := p.log.lines()
	for i := p.logAt; i < len(all); i++ {
		if strings.Contains(all[i], want) {
			p.logAt = i + 1
			return nil
		}
	}
	return failed(s.Line, "no line of the log has %q", want)
}

func (p *player) counted(s *talk.Step) error {
	if err := p.settle(s.Line); err != nil {
		return err
	}
	if p.v.beside {
		return nil // others are counted too
	}
	if n := p.host.Stats().Tenants[0].Counts[s.Name]; n != s.Number {
		if p.updating != nil {
			p.updating.edits.Replace(s.Line, fmt.Sprintf("count %s %d", s.Name, n))
			return nil
		}
		return failed(s.Line, "the handler has counted %s %d times, not %d", s.Name, n, s.Number)
	}
	return nil
}

func (p *player) within(s *talk.Step) error {
	if err := p.settle(s.Line); err != nil {
		return err
	}
	p.measure()
	// Where a start is part of it, or others are, or the player has made more of the events.
	if p.v.anew || p.v.beside || p.v.short {
		return nil
	}
	if p.fuel >= s.Number && p.updating != nil {
		p.updating.edits.Replace(s.Line, withMargin(p.fuel))
		return nil
	}
	if p.fuel >= s.Number {
		most, _ := (&Report{Costs: p.costs}).Costliest()
		return failed(s.Line, "the handler has used %d of fuel so far, %d of it for line %d", p.fuel, most.Fuel, most.Line)
	}
	return nil
}

func (p *player) dialled(s *talk.Step) error {
	if err := p.settle(s.Line); err != nil {
		return err
	}
	if !p.dials.done(s) {
		return failed(s.Line, "the handler has not dialled %s", s.Address)
	}
	return nil
}
