// Command rot13 writes what it reads, with the letters moved by thirteen. It
// knows nothing of Bulkhead: with shape = "stdio" the host makes a connection
// its standard input and output.
package main

import (
	"fmt"
	"io"
	"os"
)

func main() {
	if err := rot13(os.Stdout, os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "rot13:", err)
		os.Exit(1)
	}
}

// rot13 copies r to w until r ends. Every read is answered at once, before the
// next, so that a peer that waits for its answer gets it.
func rot13(w io.Writer, r io.Reader) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			rotate(buf[:n])
			if _, err := w.Write(buf[:n]); err != nil {
				return fmt.Errorf("writing: %w", err)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading: %w", err)
		}
	}
}

func rotate(p []byte) {
	for i, c := range p {
		switch {
		case c >= 'a' && c <= 'z':
			p[i] = 'a' + (c-'a'+13)%26
		case c >= 'A' && c <= 'Z':
			p[i] = 'A' + (c-'A'+13)%26
		}
	}
}
