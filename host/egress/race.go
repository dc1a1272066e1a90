package egress

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// race dials addrs, each stagger after the one before it or as soon as one has
// failed, and returns the first connection. When it returns, every dial has
// ended and every other connection is closed; dial must end soon after its
// context.
func race[C io.Closer](ctx context.Context, addrs []netip.AddrPort, stagger time.Duration, dial func(context.Context, netip.AddrPort) (C, error)) (C, error) {
	type outcome struct {
		conn C
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		winner   C
		won      bool
		failures attempts
		outcomes = make(chan outcome)
		pending  = 0
		next     = time.NewTimer(0) // when to begin the next attempt
	)
	defer next.Stop()
	for len(addrs) > 0 || pending > 0 {
		begin, ended := next.C, ctx.Done()
		if len(addrs) == 0 {
			begin, ended = nil, nil // all that is left is to wait for the dials
		}
		select {
		case <-ended:
			addrs = nil
		case <-begin:
			if ctx.Err() != nil {
				addrs = nil // the time is over too, and select may choose
				continue
			}
			addr := addrs[0]
			addrs = addrs[1:]
			pending++
			go func() {
				conn, err := dial(ctx, addr)
				outcomes <- outcome{conn, err}
			}()
			next.Reset(stagger)
		case o := <-outcomes:
			pending--
			switch {
			case o.err != nil:
				failures = append(failures, o.err)
				next.Reset(0)
			case won:
				_ = o.conn.Close()
			default:
				winner, won, addrs = o.conn, true, nil
				cancel()
			}
		}
	}
	if won {
		return winner, nil
	}
	if err := ctx.Err(); err != nil && !slices.ContainsFunc(failures, isTimeout) {
		failures = append(failures, err)
	}
	return winner, failures
}

// attempts are the errors of dials that all failed.
type attempts []error

// Error is all of them on one line.
func (a attempts) Error() string {
	texts := make([]string, len(a))
	for i, err := range a {
		texts[i] = err.Error()
	}
	return strings.Join(texts, ", ")
}

// Unwrap is for errors.Is.
func (a attempts) Unwrap() []error { return a }

// worst is the kind of the attempt that came nearest to the peer.
func worst(err error) Kind {
	all, _ := errors.AsType[attempts](err)
	for _, kind := range []Kind{Quota, Refused, Timeout, Denied, Unreachable} {
		if slices.ContainsFunc(all, func(err error) bool { return KindOf(err) == kind }) {
			return kind
		}
	}
	return Unreachable
}
