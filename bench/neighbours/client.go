package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"bulkhead/bench/internal/stats"
)

// patience is how long an answer may take before it counts as none.
const patience = 20 * time.Second

// load is what is put on the neighbour: some connections, each with a message of 64 bytes
// every so often.
type load struct {
	name  string
	conns int
	every time.Duration
}

// latencies are what one run of a load gave. Times run from the sending of a message to the last
// byte of its answer. An answer that is late makes the next message late, and what was to be sent
// meanwhile is not, so a long stall is one long answer.
type latencies struct {
	P50, P99, Max time.Duration
	Answers       uint64
}

// echo runs a load for d.
func (l load) echo(ctx context.Context, address string, d time.Duration) (*latencies, error) {
	var (
		mu    sync.Mutex
		h     stats.Histogram
		group sync.WaitGroup
		errs  error
	)
	end := time.Now().Add(d)
	for i := range l.conns {
		group.Go(func() {
			// They do not all send at once.
			err := l.one(ctx, address, time.Duration(i)*l.every/time.Duration(l.conns), end, func(took time.Duration) {
				mu.Lock()
				h.Record(int64(took))
				mu.Unlock()
			})
			mu.Lock()
			errs = errors.Join(errs, err)
			mu.Unlock()
		})
	}
	group.Wait()
	if errs != nil {
		return nil, errs
	}
	return &latencies{
		P50:     time.Duration(h.Quantile(0.5)),
		P99:     time.Duration(h.Quantile(0.99)),
		Max:     time.Duration(h.Max()),
		Answers: h.Count(),
	}, nil
}

// one is one connection.
func (l load) one(ctx context.Context, address string, offset time.Duration, end time.Time, record func(time.Duration)) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	message := bytes.Repeat([]byte("bulkhead"), 8)
	answer := make([]byte, len(message))
	exchange := func() (time.Duration, error) {
		start := time.Now()
		_ = conn.SetDeadline(start.Add(patience))
		if _, err := conn.Write(message); err != nil {
			return 0, err
		}
		if _, err := io.ReadFull(conn, answer); err != nil {
			return 0, fmt.Errorf("waiting for the echo: %w", err)
		}
		if !bytes.Equal(answer, message) {
			return 0, fmt.Errorf("the echo answered %q to %q", answer, message)
		}
		return time.Since(start), nil
	}
	// The first answer waits for an instance.
	if _, err := exchange(); err != nil {
		return err
	}
	next := time.Now().Add(offset)
	for next.Before(end) && ctx.Err() == nil {
		time.Sleep(time.Until(next))
		took, err := exchange()
		if err != nil {
			return err
		}
		record(took)
		if next = next.Add(l.every); next.Before(time.Now()) {
			next = time.Now()
		}
	}
	return ctx.Err()
}

// spin opens n connections and sends each the byte that has its handler spin. They stay open until
// they are closed.
func spin(address string, n int) (conns []net.Conn, err error) {
	for range n {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return conns, err
		}
		conns = append(conns, conn)
		if _, err := conn.Write([]byte{1}); err != nil {
			return conns, err
		}
	}
	return conns, nil
}
