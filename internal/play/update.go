package play

import (
	"bytes"
	"context"
	"fmt"

	"bulkhead/internal/talk"
)

// Update plays a conversation as written, and returns the changes to its file by which it goes as
// it went. Lines that hold stay, and so do comments and the order. The report has a failure if
// something cannot be put right by changing what is expected; then there are no changes. The error
// is as Play's.
func Update(ctx context.Context, h Handler, c *talk.Case) (*Report, *talk.Edits, error) {
	return h.update(ctx, c, &updating{})
}

func (h Handler) update(ctx context.Context, c *talk.Case, u *updating) (*Report, *talk.Edits, error) {
	report, err := h.play(ctx, c, Written, u, nil)
	if err != nil || report.Failure != nil {
		return report, &talk.Edits{}, err
	}
	return report, &u.edits, nil
}

// updating notes what happened instead of what was expected. A nil *updating is of a conversation
// that has to go as written.
type updating struct {
	edits talk.Edits
	// eager: what comes is noted behind the line that it answers, since no line expects it.
	eager bool
	ended map[*party]bool // whose end eager has noted
}

// block compares a run of lines that one party has to get with what it has got, and returns how
// many steps it was. Lines that match stay; between them stands what has come instead.
func (p *player) block(steps []talk.Step, one *party) (n int, err error) {
	if err := p.settle(steps[0].Line); err != nil {
		return 0, err
	}
	var wanted []*talk.Step
	for i := range steps {
		s := &steps[i]
		if s.Kind == talk.Expect && s.Party == steps[0].Party {
			wanted, n = append(wanted, s), i+1
		} else if s.Kind != talk.Stretch {
			break
		}
	}
	later := expectedLater(steps[n:], steps[0].Party)
	last := wanted[len(wanted)-1]
	var other []byte // that no line has
	note := func() {
		lines := talk.Lines(one.name+"<", other, last.EOL)
		other = nil
		if len(wanted) > 0 {
			p.updating.edits.Before(wanted[0].Line, lines...)
		} else {
			p.updating.edits.After(last.Line, lines...)
		}
	}
	for {
		rest := one.rest()
		if i, took := p.firstMatch(wanted, rest); i >= 0 {
			note()
			for _, s := range wanted[:i] {
				if err := p.drop(s); err != nil {
					return n, err
				}
			}
			one.taken, wanted = one.taken+took, wanted[i+1:]
			continue
		}
		if i, _ := p.firstMatch(later, rest); i >= 0 || len(rest) == 0 {
			break
		}
		step := 1
		if end := bytes.IndexByte(rest, '\n'); bytes.HasSuffix([]byte(last.EOL), []byte("\n")) {
			step = len(rest)
			if end >= 0 {
				step = end + 1
			}
		}
		other = append(other, rest[:step]...)
		one.taken += step
	}
	note()
	for _, s := range wanted {
		if err := p.drop(s); err != nil {
			return n, err
		}
	}
	return n, nil
}

// expectedLater are the lines that the party has to get before anything is done that it may get
// more for.
func expectedLater(steps []talk.Step, party string) (later []*talk.Step) {
	for i := range steps {
		switch s := &steps[i]; s.Kind {
		case talk.Expect:
			if s.Party == party {
				later = append(later, s)
			}
		case talk.Send, talk.SendEOF, talk.SendRST, talk.Wait, talk.Secured:
			return later
		}
	}
	return later
}

// firstMatch is the first of the steps that matches all that it wants, and how much that is; -1:
// none does.
func (p *player) firstMatch(steps []*talk.Step, got []byte) (i, n int) {
	for i, s := range steps {
		if n, result := s.Match(got, p.captures); result == talk.Matches && n > 0 {
			return i, n
		}
	}
	return -1, 0
}

// drop leaves out a line that did not hold, unless others need what it captures.
func (p *player) drop(s *talk.Step) error {
	if names := s.Captures(); len(names) > 0 {
		return failed(s.Line, "nothing that has come matches this pattern, and it captures ${%s}: change it by hand", names[0])
	}
	p.updating.edits.Drop(s.Line)
	return nil
}

// more notes what a party has got ahead of a line.
func (p *player) more(line int, eol string, one *party) {
	if rest := one.rest(); len(rest) > 0 {
		p.updating.edits.Before(line, talk.Lines(one.name+"<", rest, eol)...)
		one.taken += len(rest)
	}
}

// updateEnd notes how a connection has ended.
func (p *player) updateEnd(s *talk.Step, one *party) error {
	if err := p.settle(s.Line); err != nil {
		return err
	}
	p.more(s.Line, s.EOL, one)
	kind := talk.GetEOF
	if one.broken {
		kind = talk.GetRST
	}
	switch {
	case !one.eof && !one.broken:
		p.updating.edits.Drop(s.Line)
	case kind != s.Kind:
		p.updating.edits.Replace(s.Line, endOf(one))
	}
	return nil
}

// endOf is the line that says how a party's connection has ended.
func endOf(one *party) string {
	if one.broken {
		return one.name + "<RST"
	}
	return one.name + "<EOF"
}

// updateRest notes at the end of the conversation what nobody expected.
func (p *player) updateRest() {
	for _, one := range p.order {
		if rest := one.rest(); len(rest) > 0 {
			p.updating.edits.After(p.c.Last, talk.Lines(one.name+"<", rest, p.c.EOL)...)
			one.taken += len(rest)
		}
		if p.updating.eager && p.updating.ends(one) {
			p.updating.edits.After(p.c.Last, endOf(one))
		}
	}
}

// ends reports that a party's connection has ended, once.
func (u *updating) ends(one *party) bool {
	if !one.eof && !one.broken || u.ended[one] {
		return false
	}
	if u.ended == nil {
		u.ended = make(map[*party]bool)
	}
	u.ended[one] = true
	return true
}

// noteAnswers notes what came for the line, where no line expects it.
func (p *player) noteAnswers(line int) {
	if p.updating == nil || !p.updating.eager {
		return
	}
	for _, one := range p.order {
		if rest := one.rest(); len(rest) > 0 {
			p.updating.edits.After(line, talk.Lines(one.name+"<", rest, p.c.EOL)...)
			one.taken += len(rest)
		}
		if p.updating.ends(one) {
			p.updating.edits.After(line, endOf(one))
		}
	}
}

// withMargin is the line of a budget that what was used keeps to, with a tenth more.
func withMargin(fuel int64) string { return fmt.Sprintf("fuel < %dk", (fuel+fuel/10)/1000+1) }

// partyPrefix is what a line of another party's begins with.
func partyPrefix(name string) string {
	if name == talk.Client {
		return ""
	}
	return name + " "
}
