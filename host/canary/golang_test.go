package canary

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// chatRoom serves the chat, which is a Go program, as a tenant of its own. Each visitor
// is alone in his lobby when each has an instance of his own: who meets another has met
// what was left of him.
func chatRoom(t testing.TB, address string) string {
	plugin, err := filepath.Abs("../../examples/chat/chat.wasm")
	if err != nil {
		t.Fatal(err)
	}
	return roomy("golang") + fmt.Sprintf(`
[[listener]]
name = "chat"
tenant = "golang"
address = "unix://%s"
plugin = %q
`, address, plugin)
}

// chat is a visitor who says who he is, asks who else is there, talks to himself, and
// goes in one of some ways.
func chat(address string, rng *rand.Rand) error {
	conn, err := net.Dial("unix", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	lines := bufio.NewReader(conn)
	name := fmt.Sprintf("canary%d", visits.Add(1))
	hear := func(wants ...string) error {
		for _, want := range wants {
			line, err := lines.ReadString('\n')
			if err != nil || !strings.HasPrefix(line, want) {
				return fmt.Errorf("%s hears %q, %v; want %q", name, line, err, want)
			}
			if strings.Contains(strings.ReplaceAll(line, name, ""), "canary") {
				return fmt.Errorf("%w: %s hears %q", errLeak, name, line)
			}
		}
		return nil
	}
	say := func(format string, args ...any) error {
		_, err := fmt.Fprintf(conn, format, args...)
		return err
	}
	if err := hear("* what is your name?\n"); err != nil {
		return err
	}
	if rng.IntN(10) == 0 { // gone before it has a name, in the middle of it
		return say("%s", name)
	}
	if err := say("%s\n/who\n", name); err != nil {
		return err
	}
	if err := hear("* hello, "+name+". ", "* you are in lobby, with ", "* in lobby: "+name+"\n"); err != nil {
		return err
	}
	for range rng.IntN(5) {
		room := name + "room"
		if err := say("/join %s\n%s\n/who\n", room, strings.Repeat(name+" ", 1+rng.IntN(20))); err != nil {
			return err
		}
		if err := hear("* you are in "+room+", with ", "* in "+room+": "+name+"\n"); err != nil {
			return err
		}
		if err := say("/join lobby\n/who\n"); err != nil {
			return err
		}
		if err := hear("* you are in lobby, with ", "* in lobby: "+name+"\n"); err != nil {
			return err
		}
	}
	switch rng.IntN(4) {
	case 0:
		if err := say("/quit\n"); err != nil {
			return err
		}
		if err := hear("* good-bye\n"); err != nil {
			return err
		}
		rest, err := io.ReadAll(lines)
		if err != nil || len(rest) > 0 {
			return fmt.Errorf("%s hears %q, %v behind the end", name, rest, err)
		}
	case 1:
		return say("%s has not finished", name)
	case 2: // a reset, with lines in the air
		return say("%s", strings.Repeat("/who\n", 100))
	}
	return nil
}
