// Gorelay is a relay on Go's net, as one would write it: two goroutines a connection,
// and io.Copy, which has the kernel move the bytes (splice).
//
//	gorelay ADDRESS BACKEND
package main

import (
	"fmt"
	"io"
	"net"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "gorelay:", run())
	os.Exit(1)
}

// run serves until something fails.
func run() error {
	if len(os.Args) != 3 {
		return fmt.Errorf("%d arguments: want two, the address to listen on and the one to relay to", len(os.Args)-1)
	}
	l, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go relay(c.(*net.TCPConn), os.Args[2])
	}
}

func relay(c *net.TCPConn, to string) {
	defer c.Close()
	d, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer d.Close()
	other := d.(*net.TCPConn)
	done := make(chan struct{})
	go func() {
		pass(other, c)
		close(done)
	}()
	pass(c, other)
	<-done
}

// pass copies one way, and passes its end on.
func pass(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		// Neither side is of use any more.
		to.Close()
		from.Close()
		return
	}
	to.CloseWrite()
}
