package play

import (
	"context"
	"os"
	"strings"
	"testing"

	"bulkhead/internal/hosttest"
	"bulkhead/internal/talk"
)

// The conversations of the examples go as written with each handler of the protocol.
func TestExamples(t *testing.T) {
	for conversations, handlers := range map[string][]string{
		"echo/echo.talk":     {"echo/echo.wasm"},
		"gt06/gt06.talk":     {"gt06/gt06.js", "gt06/gt06.wasm", "gt06/gt06.lua", "gt06/gt06.py", "gt06/gt06.rs.wasm"},
		"hello/hello.talk":   {"hello/hello.js", "hello/hello.lua"},
		"http/http.talk":     {"http/http.wasm"},
		"modbus/modbus.talk": {"modbus/modbus.wasm"},
		"pop3/pop3.talk":     {"pop3/pop3.py"},
		"resp/resp.talk":     {"resp/resp.wasm"},
		"smtp/smtp.talk":     {"smtp/smtp.js", "smtp/smtp.wasm"},
	} {
		text, err := os.ReadFile("../../examples/" + conversations)
		if err != nil {
			t.Fatal(err)
		}
		for i, handler := range handlers {
			ways := Variants(1)
			if i > 0 {
				ways = few // the first has shown what the ways show
			}
			t.Run(handler, func(t *testing.T) {
				h := Handler{Plugin: "../../examples/" + handler}
				if strings.HasPrefix(handler, "resp/") {
					h.Instance = "listener" // clients share the keys
				}
				wellPlayed(t, h, string(text), ways...)
			})
		}
	}
}

// A conversation that is given up is an error, and nothing of its host is left.
func TestGivenUp(t *testing.T) {
	f, err := talk.Parse("t.talk", []byte("== a\n> hello\n< hello\n"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Play(ctx, Handler{Plugin: "../../examples/echo/echo.wasm", State: hosttest.State()}, f.Cases[0], Written); err != context.Canceled {
		t.Fatalf("Play: %v", err)
	}
}
