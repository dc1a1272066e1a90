package main

import (
	"crypto/sha256"
	"hash"
)

// What is wrong with a message, as the reply to it.
const (
	tooBig  = "552 5.3.4 the message is too big"
	bareEnd = "554 5.6.0 lines end in CR LF, and neither comes alone"
	noFault = ""
)

// body takes a message as it comes behind DATA, and keeps nothing of it but its length
// and its hash. Lines may be as long as they like, though RFC 5321 has 998 bytes: senders go
// beyond, and receivers are asked to take it. Only CR LF ends a line: a server that takes less for
// the end of a message than the one before it does can be given two messages in place of one.
type body struct {
	sum   hash.Hash
	size  int64 // of the message, without the dots that were added for transport
	limit int64
	at    place
	fault string // the first one, or noFault
}

type place byte

const (
	lineStart place = iota
	inLine
	afterCR
	afterDot   // at the start of a line; the dot is no part of the message
	afterDotCR // and neither is this CR, if LF follows
)

func newBody(limit int64) *body { return &body{sum: sha256.New(), limit: limit} }

// take consumes n bytes; done says that the last of them ends the message.
func (b *body) take(p []byte) (n int, done bool) {
	from := 0 // where the part of the message begins that is not added yet
	for i, c := range p {
		switch {
		case b.at == afterDotCR && c == '\n':
			return i + 1, true
		case b.at == afterDotCR:
			b.add([]byte("\r"))
			b.blame(bareEnd)
			b.at = inLine
		case b.at == lineStart && c == '.':
			b.add(p[from:i])
			from = i + 1
			b.at = afterDot
			continue
		case b.at == afterDot && c == '\r':
			from = i + 1
			b.at = afterDotCR
			continue
		}
		b.step(c)
	}
	b.add(p[from:])
	return len(p), false
}

// step goes over one byte of the message.
func (b *body) step(c byte) {
	switch {
	case b.at == afterCR && c == '\n':
		b.at = lineStart
		return
	case b.at == afterCR, c == '\n':
		b.blame(bareEnd)
	}
	b.at = inLine
	if c == '\r' {
		b.at = afterCR
	}
}

func (b *body) add(p []byte) {
	if b.size += int64(len(p)); b.size > b.limit {
		b.blame(tooBig)
		return
	}
	_, _ = b.sum.Write(p)
}

func (b *body) blame(fault string) {
	if b.fault == noFault {
		b.fault = fault
	}
}
