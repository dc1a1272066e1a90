// A handler that has something for each function of the library: what a line says, it does.
package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"time"

	guest "bulkhead/sdk/go"
)

type everything struct {
	guest.Base
	config string
}

// client is what is kept of a client.
type client struct {
	frames   string // what messages are cut by; lines if it is empty
	lines    int
	upstream *guest.Conn
}

// upstream is what is kept of whom it has dialled.
type upstream struct {
	client *guest.Conn
	relay  bool
}

func (e *everything) Start(config []byte) error {
	e.config = string(config)
	return guest.SetTimer(7, 60*guest.Second)
}

func (e *everything) Open(c *guest.Conn) error {
	if !c.Dialled() {
		c.Value = new(client)
		return say(c, "hello")
	}
	u := c.Value.(*upstream)
	if err := say(u.client, "up, from "+strconv.FormatBool(c.Local() == "")); err != nil {
		return err
	}
	if u.relay {
		return join(c, u.client)
	}
	return nil
}

// join relays, as soon as what was written to the client is sent.
func join(up, client *guest.Conn) error {
	if err := guest.Splice(up, client); !errors.Is(err, guest.Again) {
		return err
	}
	return nil // Writable is called
}

func (e *everything) Writable(c *guest.Conn) {
	if me, ok := c.Value.(*client); ok && me.upstream != nil {
		if u := me.upstream.Value.(*upstream); u.relay && join(me.upstream, c) != nil {
			_ = c.Abort()
		}
	}
}

func say(c *guest.Conn, line string) error {
	_, err := c.Write([]byte(line + "\n"))
	return err
}

// message is the first message of the kind that frames names.
func message(frames string, p []byte) ([]byte, int, error) {
	switch frames {
	case "u8":
		return guest.Prefixed(p, 1, binary.BigEndian, 100)
	case "u16be":
		return guest.Prefixed(p, 2, binary.BigEndian, 100)
	case "u16le":
		return guest.Prefixed(p, 2, binary.LittleEndian, 100)
	case "u32be":
		return guest.Prefixed(p, 4, binary.BigEndian, 100)
	case "u32le":
		return guest.Prefixed(p, 4, binary.LittleEndian, 100)
	case "fixed5":
		return guest.Fixed(p, 5)
	case "until--":
		return guest.Until(p, []byte("--"), 100)
	}
	return guest.Line(p, 100)
}

func (e *everything) Data(c *guest.Conn, p []byte) (done int, err error) {
	if u, ok := c.Value.(*upstream); ok {
		return u.client.Write(p)
	}
	me := c.Value.(*client)
	for {
		m, used, err := message(me.frames, p[done:])
		if err != nil || used == 0 {
			return done, err
		}
		done += used
		text := string(m)
		if me.frames != "" {
			if text == "lines" {
				me.frames = ""
			} else {
				text = "[" + text + "]"
			}
			if err := say(c, text); err != nil {
				return done, err
			}
			continue
		}
		me.lines++
		word, rest, _ := strings.Cut(text, " ")
		if err := e.does(c, me, word, rest); err != nil {
			return done, err
		}
		if word == "tls" || word == "relay" {
			return done, nil // what comes next is encrypted, or the upstream's
		}
	}
}

func (e *everything) does(c *guest.Conn, me *client, word, rest string) error {
	n, _ := strconv.Atoi(rest)
	switch word {
	case "config":
		return say(c, e.config)
	case "peer":
		certificate := ""
		if c.HasCertificate() {
			certificate = "yes"
		}
		return say(c, c.Peer()+" "+c.Transport()+" "+certificate)
	case "lines":
		return say(c, strconv.Itoa(me.lines))
	case "timer":
		return c.SetTimer(1, guest.Duration(n)*guest.Millisecond)
	case "clear":
		return c.StopTimer(1)
	case "log":
		guest.Log(guest.LogWarn, rest)
	case "count":
		return guest.Count(rest, 2)
	case "clock":
		return say(c, strconv.FormatBool(guest.Now() > int64(guest.Monotonic())))
	case "random":
		var drawn [32]byte
		if err := guest.Random(drawn[:]); err != nil {
			return err
		}
		return say(c, strconv.FormatBool(drawn != [32]byte{}))
	case "many":
		many := append(bytes.Repeat([]byte{'x'}, n), '\n')
		if taken, err := c.Write(many[:n]); err != nil && taken == 0 {
			return say(c, name(err))
		} else if err != nil {
			return err
		}
		_, err := c.Write(many[n:])
		return err
	case "limit":
		c.SetWriteLimit(n)
	case "frames":
		me.frames = rest
	case "want":
		return c.Want(n)
	case "pause":
		if err := c.SetTimer(2, guest.Duration(n)*guest.Millisecond); err != nil {
			return err
		}
		return c.Pause()
	case "tls":
		return c.MakeSSL(guest.TLSServer, "")
	case "dial", "relay":
		up, err := guest.Connect(rest)
		if err != nil {
			return err
		}
		up.Value = &upstream{client: c, relay: word == "relay"}
		me.upstream = up
	case "up":
		return say(me.upstream, rest)
	case "upgrade":
		return me.upstream.MakeSSL(guest.TLSClient, rest)
	case "half":
		return c.CloseWrite()
	case "quit":
		return c.Close()
	case "abort":
		return c.Abort()
	case "refuse":
		return guest.Refused
	case "panic":
		panic("it was told to: " + rest)
	case "goroutines": // so many tell one, which answers
		numbers := make(chan int)
		for i := range n {
			go func() { numbers <- i }()
		}
		go func() {
			sum := 0
			for range n {
				sum += <-numbers
			}
			_ = say(c, strconv.Itoa(sum))
		}()
	case "stages": // a number goes through so many
		first := make(chan int)
		last := first
		for range n {
			from, to := last, make(chan int)
			go func() { to <- 1 + <-from }()
			last = to
		}
		go func() { _ = say(c, strconv.Itoa(<-last)) }()
		first <- 0
	case "sleep":
		go func() {
			time.Sleep(time.Duration(n) * time.Millisecond) //bulkhead:known
			_ = say(c, "awake")
		}()
	default:
		return say(c, "?")
	}
	return nil
}

func (e *everything) EOF(c *guest.Conn) {
	lines := 0
	if me, ok := c.Value.(*client); ok {
		lines = me.lines
	}
	_ = say(c, "over after "+strconv.Itoa(lines))
	_ = c.Close()
}

func (e *everything) Secured(c *guest.Conn, err error) {
	if u, ok := c.Value.(*upstream); ok {
		c = u.client
	}
	guest.Log(guest.LogInfo, "secured "+name(err))
	_ = say(c, "secured "+name(err))
}

func (e *everything) Timer(c *guest.Conn, token int32) {
	switch {
	case c == nil:
		guest.Log(guest.LogInfo, "instance timer "+strconv.Itoa(int(token)))
	case token == 2:
		_ = c.Resume()
		_ = say(c, "resumed")
	default:
		_ = say(c, "timer "+strconv.Itoa(int(token)))
	}
}

func (e *everything) Closed(c *guest.Conn, err error) {
	if u, ok := c.Value.(*upstream); ok {
		_ = say(u.client, "upstream "+name(err))
	}
}

// name is what the ABI calls the code of an error.
func name(err error) string {
	for _, c := range []struct {
		code guest.Code
		name string
	}{
		{guest.Invalid, "INVALID"}, {guest.Again, "AGAIN"}, {guest.Closed, "CLOSED"}, {guest.Denied, "DENIED"},
		{guest.Quota, "QUOTA"}, {guest.NotFound, "NOT_FOUND"}, {guest.Timeout, "TIMEOUT"}, {guest.Refused, "REFUSED"},
		{guest.Unreachable, "UNREACHABLE"}, {guest.TLS, "TLS"}, {guest.Reset, "RESET"},
	} {
		if errors.Is(err, c.code) {
			return c.name
		}
	}
	if err != nil {
		return err.Error()
	}
	return "OK"
}

func init() { guest.Register(new(everything)) }

func main() {}
