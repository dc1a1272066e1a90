package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// options is one way to build an echo server.
type options struct {
	Trigger string // level, oneshot, edge
	Wait    string // block, park; look+, looks+ and spin+ before one of them
	Accept  string // one, reuseport
	Loops   int
	Hogs    int // goroutines that burn CPU beside the loops
	SndBuf  int // SO_SNDBUF of a connection; 0: the kernel's choice
}

// hello is the first line that the server prints, and stand each one after:
// one for every line it reads.
type (
	hello struct{ Port int }
	stand struct {
		Conns []int  // connections open now, by loop
		Work  uint64 // what the hogs have done since the last line, in turns
	}
)

// serve runs an echo server on a free port of 127.0.0.1 until in ends.
func serve(o options, in io.Reader, out io.Writer) error {
	runtime.GOMAXPROCS(o.Loops)
	loops := make([]*loop, o.Loops)
	for i := range loops {
		l, err := newLoop(o)
		if err != nil {
			return err
		}
		loops[i] = l
	}
	port, err := listenAll(o, loops)
	if err != nil {
		return err
	}
	for _, l := range loops {
		l.all = loops
		go l.run()
	}
	for range o.Hogs {
		go hog()
	}
	enc := json.NewEncoder(out)
	if err := enc.Encode(hello{port}); err != nil {
		return err
	}
	for s := bufio.NewScanner(in); s.Scan(); {
		st := stand{Work: hogged.Swap(0)}
		for _, l := range loops {
			st.Conns = append(st.Conns, int(l.open.Load()))
		}
		if err := enc.Encode(st); err != nil {
			return err
		}
	}
	return nil
}

// hogged counts the turns of the hogs.
var hogged atomic.Uint64

// hog works for ever, as a goroutine that compiles or compresses does.
func hog() {
	for x := uint64(1); ; {
		const turns = 1 << 16
		for range turns {
			x = x*6364136223846793005 + 1442695040888963407
		}
		// One bit of x, so that the compiler cannot leave the work out.
		hogged.Add(turns + x>>63)
	}
}

// listenAll gives the first loop a listener, or each loop one of its own.
func listenAll(o options, loops []*loop) (port int, err error) {
	n := 1
	if o.Accept == "reuseport" {
		n = len(loops)
	}
	for i := range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return 0, fmt.Errorf("making a listener: %w", err)
		}
		if n > 1 {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
				return 0, fmt.Errorf("SO_REUSEPORT: %w", err)
			}
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			return 0, fmt.Errorf("binding to port %d: %w", port, err)
		}
		if err := unix.Listen(fd, 4096); err != nil {
			return 0, fmt.Errorf("listening: %w", err)
		}
		sa, err := unix.Getsockname(fd)
		if err != nil {
			return 0, fmt.Errorf("asking for the port: %w", err)
		}
		port = sa.(*unix.SockaddrInet4).Port
		loops[i].listener = fd
		if err := loops[i].ctl(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN); err != nil {
			return 0, err
		}
	}
	return port, nil
}
