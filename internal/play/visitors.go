package play

import (
	"fmt"
)

const (
	// mostVisitors is how many clients come and go beside a conversation.
	mostVisitors = 32
	// firstVisitor is the number of the first, which no client of a conversation has.
	firstVisitor = 1000
)

// visitor connects a client that no line has, before the conversation's client sends a segment. It
// sends what that has begun with, and half of the segment, so that it stands elsewhere. It returns
// nil if there have been enough. The caller ends it.
func (p *player) visitor(segment []byte, line int) (*party, error) {
	n := len(p.visitors)
	if n == mostVisitors {
		return nil, nil
	}
	p.visits.Store(true) // all others are at rest, and stay so until the visitor is
	defer p.visits.Store(false)
	one, err := p.open(fmt.Sprintf("visitor %d", n+1), firstVisitor+n)
	if err != nil {
		return nil, err
	}
	p.visitors = append(p.visitors, one)
	if p.begun == nil {
		p.begun = segment
	}
	if err := p.settle(line); err != nil || one.over() {
		return one, err
	}
	one.send(p.begun)
	one.send(segment[:len(segment)/2])
	return one, p.settle(line)
}

// leave ends a visitor: the one in order, the next by a reset.
func (p *player) leave(one *party, line int) error {
	if one == nil || one.closed {
		return nil
	}
	p.visits.Store(true)
	defer p.visits.Store(false)
	if len(p.visitors)%2 == 0 {
		one.finish()
	} else {
		one.reset()
	}
	return p.settle(line)
}
