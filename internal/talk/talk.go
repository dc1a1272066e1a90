// Package talk reads and writes conversations: what the parties of a protocol say to a handler, and
// what they must get. A conversation is a handler's test, in any language, and an example at the
// same time.
//
//	== a login
//	< ~ 220 .*
//	> EHLO me.example
//	< ~ 250[ -].*
//	>EOF
//	<EOF
//
// docs/TALK.md is the format. The package knows nothing of who plays a conversation.
package talk

import (
	"regexp"
	"time"
)

// Client is the name of the party whose name a line leaves out: the first connection.
const Client = ""

// File is a file of conversations, in the order in which they stand.
type File struct {
	Name  string // as errors say it
	Cases []*Case
}

// Case is one conversation, which begins with a new instance of the handler.
type Case struct {
	Name string
	Line int // where it begins; the first line of a file is 1
	// Config are the lines of a handler's config, in TOML: those of the file, then its own.
	Config []Setting
	// Alone says that no other client is connected meanwhile: what one sends may reach others.
	Alone bool
	Steps []Step
	// Last is its last line that is more than a blank or a comment, and EOL what ends a line there.
	Last int
	EOL  string
}

// Setting is one line of TOML for the handler's config.
type Setting struct {
	Line int
	TOML string
	// Alone says that it is a line that begins with config, and so in no table of TOML; else it is
	// of -- config.toml --, and may be in the table before it.
	Alone bool
}

// Kind is what a step is.
type Kind int

// The kinds of steps, with the fields of a Step that each has beside Line, Kind and Party.
const (
	Send    Kind = iota // Text: the party sends it
	Expect              // Text or Pattern: what the party gets next
	SendEOF             // the party sends no more
	SendRST             // the party resets the connection
	GetEOF              // the party gets the end of the stream, and nothing before it
	GetRST              // the party's connection is reset
	Closed              // Code: with which the connection ends for the handler
	Dial                // Address, and Code or As: the handler dials
	Secured             // Code: how the handshake ends that the handler has begun; "" is well
	Wait                // Duration: time goes by
	Log                 // Text: a line of the handler's log has it
	Count               // Name, Number: what the handler has counted so far
	Fuel                // Number: the case has used less
	Stretch             // what was sent so far is a segment of its own, or a datagram
)

// Step is one line of a case.
type Step struct {
	Line  int
	Kind  Kind
	Party string // Client, or the name that the line begins with
	// Text is what is sent, expected or looked for, with its line ending. It is never changed.
	Text Text
	// Pattern is what the next line must match from its first byte to its last, the line ending,
	// EOL, left out. Nil where Text is expected.
	Pattern *Pattern
	EOL     string // what ends a line without quotes where the step stands
	Code    string // as abi names it: "OK", "INVALID"
	Address string // of Dial, as the handler gives it
	As      string // the party that answers a Dial; "" if Code says how it fails
	Name    string
	Number  int64
	Wait    time.Duration
}

// Text is bytes, some of which any byte matches, and captured values between them.
type Text []Piece

// Piece is a part of a text: Bytes, or the value of a capture, or any one byte.
type Piece struct {
	Bytes   []byte
	Capture string
	Any     bool
}

// Pattern is a regular expression for one line, in which captured values stand as they are.
type Pattern struct {
	source string
	parts  Text           // of source
	fixed  *regexp.Regexp // where it holds no captured value
}
