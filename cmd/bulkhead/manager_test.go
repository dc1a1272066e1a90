package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bulkhead/internal/sdnotify"
)

// A sign of life is given only when the loops have turned.
func TestSignsOfLife(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Setenv("NOTIFY_SOCKET", name)
	n, err := sdnotify.FromEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	m := newManager(n, slog.New(slog.NewTextHandler(io.Discard, nil)))
	turns, done := make(chan error), make(chan struct{})
	go func() {
		m.signs(t.Context(), func(context.Context) error { return <-turns }, time.Millisecond)
		close(done)
	}()
	b := make([]byte, 100)
	for range 3 {
		// A loop stands still: whatever is in the socket now was there before.
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		if n, err := c.Read(b); err == nil {
			t.Fatalf("the manager hears %q, and no loop has turned", b[:n])
		}
		turns <- nil
		_ = c.SetReadDeadline(time.Time{})
		if n, err := c.Read(b); err != nil || string(b[:n]) != "WATCHDOG=1" {
			t.Fatalf("the manager hears %q, %v", b[:n], err)
		}
	}
	turns <- errors.New("the host has stopped")
	<-done
}

// The unit that is shipped says what the commands take.
func TestUnit(t *testing.T) {
	text, err := os.ReadFile("../../packaging/bulkhead.service")
	if err != nil {
		t.Fatal(err)
	}
	commands := make(map[string][]string)
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "Type":
			if value != "notify" { // before 253, notify-reload is taken for simple
				t.Errorf("the type is %s", value)
			}
		case "ExecStart", "ExecReload":
			commands[key] = strings.Fields(value)
		}
	}
	start, reload := commands["ExecStart"], commands["ExecReload"]
	if len(start) != 3 || len(reload) != 3 || start[0] != reload[0] || start[1] != "run" || reload[1] != "reload" || start[2] != reload[2] {
		t.Fatalf("the commands are %q", commands)
	}
	for _, name := range []string{start[1], reload[1]} {
		var out, errs bytes.Buffer
		if code := run([]string{"help", name}, &out, &errs); code != 0 || !strings.Contains(out.String(), "bulkhead "+name+" FILE") {
			t.Errorf("there is no command %s: %d %s", name, code, &errs)
		}
	}
}
