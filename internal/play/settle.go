package play

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"bulkhead/host/conns"
)

// settle waits until the handler has done all that it does for what it was sent: every byte has
// arrived, no call runs, and nothing more comes. Time stands still meanwhile, so no timer is part
// of that.
func (p *player) settle(line int) error {
	ctx, cancel := context.WithTimeout(p.ctx, longestTurn)
	defer cancel()
	began := time.Now() // or when somebody has last got some of an answer
	got := p.got()
	last, calm := "", 0
	var list conns.List
	for try := 0; calm < 2; try++ {
		if try > manyTries && time.Since(began) > longest {
			return p.unsettled(line, fmt.Errorf("it was looked at %d times", try))
		}
		moved, before := false, p.got()
		for _, one := range p.everyone() {
			moved = one.pump() || moved
		}
		if now := p.got(); now > before && now-got < mostAnswered {
			began = time.Now()
		}
		accepted, err := p.accept()
		if err != nil {
			return err
		}
		if err := p.host.Turn(ctx); err != nil {
			return p.unsettled(line, err)
		}
		if list, err = p.host.Connections(ctx, conns.Query{Limit: conns.MostListed}); err != nil {
			return p.unsettled(line, err)
		}
		if address := p.dials.unexpected(); address != "" && !p.loose {
			return &Failure{Line: line, Dialled: address, What: fmt.Sprintf("the handler dials %s, and no line says who answers: dial %s as NAME, or dial %s refused", address, address, address)}
		}
		now := ageless(list.Connections)
		if !moved && !accepted && now == last && p.atRest(list.Connections) {
			calm++
		} else {
			calm = 0
		}
		last = now
		if calm == 0 && try > 2 {
			time.Sleep(min(time.Duration(try)*20*time.Microsecond, time.Millisecond))
		}
	}
	p.account(line, list.Connections)
	return nil
}

// got is how many bytes all parties have got.
func (p *player) got() (n int64) {
	for _, one := range p.everyone() {
		n += one.read
	}
	return n
}

// unsettled is the failure when the handler does not come to rest.
func (p *player) unsettled(line int, err error) error {
	if p.ctx.Err() != nil {
		return p.ctx.Err()
	}
	return failed(line, "the handler does not come to rest in %v: %v", longest, err)
}

// ageless is what connections do, without the times.
func ageless(all []conns.Conn) string {
	var b strings.Builder
	for _, c := range all {
		fmt.Fprintln(&b, c.ID, c.In, c.Out, c.Unsent, c.Unconsumed, c.State, c.Events)
	}
	return b.String()
}

// atRest reports whether nothing is on its way between the parties and the handler, and nothing
// runs beside the loops, or waits to.
func (p *player) atRest(all []conns.Conn) bool {
	st := p.host.Stats().Tenants[0]
	if st.BackgroundRunning > 0 || st.Dials > 0 {
		return false
	}
	if p.perConnection && st.Instances > len(all) {
		return false // one has yet to hear that its connection is over, which no list has any more
	}
	for _, one := range p.everyone() {
		if !one.secure.idle() {
			return false
		}
		i := slices.IndexFunc(all, func(c conns.Conn) bool { return c.Peer == one.address })
		if i < 0 {
			// It was not accepted yet, or has ended: then the party hears of it.
			e, ended := p.log.end(one.address)
			if !ended || !one.over() || !one.closed && one.read < e.Out {
				return false
			}
			continue
		}
		if busy(&all[i]) {
			return false
		}
		c := &all[i]
		if c.Unsent > 0 && !one.over() {
			return false // the party takes all that comes, so the system is about to tell of room
		}
		if one.closed || one.read < c.Out || !takesNoMore(c) && one.unheard(c) {
			return false
		}
	}
	return true
}

// busy reports whether something of a connection goes on beside the loops, or waits for what will
// be there without the parties: an instance, a turn, the host's part of a TLS handshake.
func busy(c *conns.Conn) bool {
	return len(c.ThrottledBy) > 0 || slices.Contains(c.State, "background") || slices.Contains(c.State, "computing")
}

// unheard reports whether the handler's side has not read all that the party has sent.
func (o *party) unheard(c *conns.Conn) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.out) > 0 || c.In < o.wrote || o.finished && !slices.Contains(c.State, "peer-finished")
}

// takesNoMore reports whether the handler's side may leave bytes in the socket.
func takesNoMore(c *conns.Conn) bool {
	return c.Unconsumed > 0 || slices.ContainsFunc(c.State, func(s string) bool { return s == "paused" || s == "finishing" || s == "relay" })
}

// measure notes what the handler has used so far, for all connections.
func (p *player) measure() {
	list, err := p.host.Connections(p.ctx, conns.Query{Limit: conns.MostListed})
	if err != nil {
		return // the host has stopped, or ctx is done
	}
	p.sum(list.Connections)
}
