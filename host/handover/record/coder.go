// Package record writes down connections and instances that go to another process, and reads what
// was written there. What it reads may be anything: it is bounded, and an error says what is wrong.
//
// The format is that of one Version. Numbers are varints; bytes and lists have their length before
// them. Each type has one function that goes through its fields in order, for writing and for
// reading, so that the two agree.
package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Version is of what is written. It grows whenever a field comes, goes, or means something else.
const Version = 1

var errCut = errors.New("it is cut")

// coder is a record that is being written, or read.
type coder struct {
	b       []byte // what is written, or is left to read
	reading bool
	err     error // the first
}

func (c *coder) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
	c.b = nil
}

// number is a number, of any kind.
func number[T ~int | ~int16 | ~int8 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64](c *coder, n *T) {
	if !c.reading {
		c.b = binary.AppendVarint(c.b, int64(*n))
		return
	}
	v, k := binary.Varint(c.b)
	if k <= 0 {
		c.fail("%w", errCut)
		return
	}
	c.b = c.b[k:]
	if *n = T(v); int64(*n) != v {
		c.fail("a number is too large")
	}
}

func (c *coder) flag(f *bool) {
	var n uint8
	if *f {
		n = 1
	}
	number(c, &n)
	if n > 1 {
		c.fail("a flag is neither set nor not")
	}
	*f = n == 1
}

// bytes are at most most. What is read shares the memory of what it is read from.
func (c *coder) bytes(b *[]byte, most int) {
	n := len(*b)
	number(c, &n)
	if !c.reading {
		c.b = append(c.b, *b...)
		return
	}
	switch {
	case n < 0 || n > most:
		c.fail("something is of %d bytes, and may have %d", n, most)
	case n > len(c.b):
		c.fail("%w", errCut)
	case n == 0:
		*b = nil
	default:
		*b, c.b = c.b[:n:n], c.b[n:]
	}
}

func (c *coder) text(s *string, most int) {
	b := []byte(*s)
	c.bytes(&b, most)
	*s = string(b)
}

// list is of at most most items, each of which takes a byte at least.
func list[T any](c *coder, all *[]T, most int, item func(*T)) {
	n := len(*all)
	number(c, &n)
	if c.reading {
		if n < 0 || n > most || n > len(c.b) {
			c.fail("a list has %d items", n)
			n = 0
		}
		*all = nil
		if n > 0 {
			*all = make([]T, n)
		}
	}
	for k := range *all {
		item(&(*all)[k])
	}
}

// wide is a number of 64 bits without a sign.
func (c *coder) wide(n *uint64) {
	v := int64(*n)
	number(c, &v)
	*n = uint64(v)
}

// mostAddress is how long an address is at most: IPv6, a zone, a port.
const mostAddress = 18 + 256

type binaryText interface {
	MarshalBinary() ([]byte, error)
}

func (c *coder) marshalled(a binaryText, read func([]byte) error) {
	var b []byte
	if !c.reading {
		b, _ = a.MarshalBinary()
	}
	c.bytes(&b, mostAddress)
	if c.reading && c.err == nil {
		if err := read(b); err != nil {
			c.fail("an address: %w", err)
		}
	}
}

func (c *coder) endpoint(a *netip.AddrPort) {
	valid := a.IsValid()
	if c.flag(&valid); !valid {
		*a = netip.AddrPort{}
		return
	}
	c.marshalled(*a, a.UnmarshalBinary)
}

func (c *coder) address(a *netip.Addr) { c.marshalled(*a, a.UnmarshalBinary) }

// read reads all of b by f.
func read(b []byte, f func(*coder)) error {
	c := &coder{b: b, reading: true}
	f(c)
	if c.err == nil && len(c.b) > 0 {
		c.err = fmt.Errorf("it has %d bytes too many", len(c.b))
	}
	return c.err
}

func write(b []byte, f func(*coder)) []byte {
	c := &coder{b: b}
	f(c)
	return c.b
}
