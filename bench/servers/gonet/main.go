// Gonet is the benchmark's yardstick: an echo server on Go's net, with a
// goroutine per connection, as one would write it.
//
//	gonet ADDRESS
package main

import (
	"fmt"
	"net"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "gonet:", run())
	os.Exit(1)
}

// run serves until something fails.
func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("%d arguments: want one, the address to listen on", len(os.Args)-1)
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
		go echo(c)
	}
}

// A connection begins with a small buffer, so that an idle one is cheap, and
// gets a larger one when its reads fill it, so that a busy one is too. io.Copy
// would be no yardstick: it has the kernel move the bytes, and a protocol
// handler has to see them.
const (
	small = 4 << 10
	large = 64 << 10
)

func echo(c net.Conn) {
	defer c.Close()
	b := make([]byte, small)
	for {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		if _, err := c.Write(b[:n]); err != nil {
			return
		}
		if n == len(b) && n < large {
			b = make([]byte, 2*n)
		}
	}
}
