package main

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// shows runs a command until what it prints is as a file says, in which changing figures have
// stand-ins: see fits.
func shows(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: shows FILE COMMAND...")
	}
	want := ts.ReadFile(args[0])
	path, err := exec.LookPath(args[1])
	ts.Check(err)
	last := ""
	sessionOf(ts).until(ts, "it shows what "+args[0]+" says", func() bool {
		c := exec.Command(path, args[2:]...)
		c.Dir = ts.Getenv("WORK")
		var problems strings.Builder
		c.Stderr = &problems
		out, err := c.Output()
		if err != nil {
			ts.Fatalf("%s: %v\n%s", strings.Join(args[1:], " "), err, &problems)
		}
		if now := string(out); now != last {
			last = now
			ts.Logf("%s", now)
		}
		return fits(want, last)
	})
}

// fits reports whether text has the lines that are wanted, with the same words. How many blanks are
// between two words is no matter, as it depends on the figures. A word that is wanted fits itself;
// "*" fits any one, "*x" one that ends with "x", "+" one that begins with a number above 0, and
// "..." at the end of a line whatever follows.
func fits(want, text string) bool {
	wanted, lines := strings.Split(strings.TrimSpace(want), "\n"), strings.Split(strings.TrimSpace(text), "\n")
	if len(wanted) != len(lines) {
		return false
	}
	for i := range wanted {
		words, have := strings.Fields(wanted[i]), strings.Fields(lines[i])
		if n := len(words) - 1; n >= 0 && words[n] == "..." && len(have) >= n {
			words, have = words[:n], have[:n]
		}
		if !slices.EqualFunc(words, have, fitsWord) {
			return false
		}
	}
	return true
}

func fitsWord(want, word string) bool {
	if end, any := strings.CutPrefix(want, "*"); any {
		return strings.HasSuffix(word, end)
	}
	return word == want || want == "+" && aboveZero(word)
}

// aboveZero reports whether a word begins with a number above 0: "0.07", "12MiB", "3,".
func aboveZero(word string) bool {
	digits := word[:len(word)-len(strings.TrimLeft(word, "0123456789."))]
	n, err := strconv.ParseFloat(digits, 64)
	return err == nil && n > 0
}

func TestFits(t *testing.T) {
	for _, c := range []struct {
		want, text string
		fits       bool
	}{
		{"a  b\nc", "a b\n\nc\n", false},
		{"a  b\nc\n", "a b\nc", true},
		{"a *", "a b", true},
		{"a *", "a", false},
		{"a + of", "a 0.03 of", true},
		{"a + of", "a 0.00 of", false},
		{"+", "7,", true},
		{"+", "-7", false},
		{"a", "b", false},
		{"a *c", "a bc", true},
		{"a *c", "a cb", false},
		{"a ...", "a b c", true},
		{"a ...", "a", true},
		{"a b ...", "a", false},
	} {
		if fits(c.want, c.text) != c.fits {
			t.Errorf("%q fits %q: %v", c.text, c.want, !c.fits)
		}
	}
}

// between is how long those who come again and again wait in between, so that they are no load.
const between = 10 * time.Millisecond

// keepsAsking says a text through a peer and waits for its echo, again and again until the script
// ends, or the connection.
func keepsAsking(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2, "keeps-asking PEER TEXT")
	c, text := peer(ts, args[0]), unquoted(ts, args[1])
	ended := make(chan struct{})
	ts.Defer(func() {
		c.Close()
		<-ended
	})
	go func() {
		defer close(ended)
		for answer := make([]byte, len(text)); ; time.Sleep(between) {
			if _, err := io.WriteString(c, text); err != nil {
				return
			}
			if _, err := io.ReadFull(c, answer); err != nil {
				return
			}
		}
	}()
}

// comesAgain connects to an address, says a text and reads until the end, again and again until the
// script ends.
func comesAgain(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2, "comes-again ADDRESS TEXT")
	network, host := address(ts, args[0])
	text := unquoted(ts, args[1])
	stop, ended := make(chan struct{}), make(chan struct{})
	ts.Defer(func() {
		close(stop)
		<-ended
	})
	go func() {
		defer close(ended)
		for {
			if err := visit(network, host, text); err != nil {
				return // the daemon has ended
			}
			select {
			case <-stop:
				return
			case <-time.After(between):
			}
		}
	}()
}

// visit connects, says a text and reads until the end. The error is that nobody listens.
func visit(network, host, text string) error {
	c, err := net.Dial(network, host)
	if err != nil {
		return fmt.Errorf("nobody listens at %s: %w", host, err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(c, text) // it may have ended already
	_, _ = io.Copy(io.Discard, c)
	return nil
}
