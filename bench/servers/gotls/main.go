// Gotls is the yardstick for TLS: an echo server on Go's net and crypto/tls, with a
// goroutine per connection, as one would write it.
//
//	gotls ADDRESS CERTIFICATE KEY
package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "gotls:", run())
	os.Exit(1)
}

// run serves until something fails.
func run() error {
	if len(os.Args) != 4 {
		return fmt.Errorf("%d arguments: want three, the address to listen on and the files of a certificate and its key", len(os.Args)-1)
	}
	cert, err := tls.LoadX509KeyPair(os.Args[2], os.Args[3])
	if err != nil {
		return err
	}
	l, err := tls.Listen("tcp", os.Args[1], &tls.Config{Certificates: []tls.Certificate{cert}})
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

// The buffer is that of gonet: small for idle connections, larger when reads fill it.
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
