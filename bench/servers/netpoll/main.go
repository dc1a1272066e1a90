// Netpoll is the rival: an echo server on cloudwego/netpoll, with a poller per
// core (its own default is one for every twenty) and its buffers passed on
// without a copy.
//
//	netpoll ADDRESS
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"

	"github.com/cloudwego/netpoll"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "netpoll:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("%d arguments: want one, the address to listen on", len(os.Args)-1)
	}
	if err := netpoll.Configure(netpoll.Config{PollerNum: runtime.GOMAXPROCS(0)}); err != nil {
		return fmt.Errorf("setting the number of pollers: %w", err)
	}
	l, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		return err
	}
	loop, err := netpoll.NewEventLoop(echo)
	if err != nil {
		return err
	}
	return loop.Serve(l)
}

func echo(_ context.Context, c netpoll.Connection) error {
	r, w := c.Reader(), c.Writer()
	b, err := r.Next(r.Len())
	if err != nil {
		return err
	}
	if _, err := w.WriteBinary(b); err != nil {
		return err
	}
	// Flush returns when the socket has taken everything, so that b is free.
	if err := w.Flush(); err != nil {
		return err
	}
	return r.Release()
}
