package main

import (
	"bufio"
	"log/slog"
	"strings"
	"testing"

	"bulkhead/host"
	"bulkhead/host/stats"
	"bulkhead/internal/awaittest"
)

// On a terminal the last line is written anew below what comes, and elsewhere there is none.
func TestLastLineOfTheTerminal(t *testing.T) {
	master, terminal := openTerminal(t)
	_ = master.SetReadDeadline(awaittest.Deadline())
	s := newScreen(terminal)
	s.show(liveLine(host.Stats{
		Listeners: []stats.Listener{{Name: "a", Active: 2, Accepted: 7, Received: 2048, Sent: 3, Traps: 1}, {Name: "a/route", Accepted: 5}},
		Tenants:   []stats.Tenant{{Fuel: 40}, {Fuel: 2}},
	}))
	s.line("one")
	s.Write([]byte("half"))
	s.show("another")
	s.Write([]byte(" a line\n"))
	s.show("")
	s.line("end")
	lines := bufio.NewScanner(master)
	first := "2 open of 7 connections, 0 events, 42 fuel, 2 KiB in, 3 bytes out, 1 failures"
	for _, want := range []string{
		"\r\x1b[K" + first + "\r\x1b[Kone",
		first + "\r\x1b[Khalf a line",
		"another\r\x1b[K" + "end",
	} {
		if !lines.Scan() || strings.TrimSuffix(lines.Text(), "\r") != want {
			t.Errorf("the terminal shows %q (%v), want %q", lines.Text(), lines.Err(), want)
		}
	}
	var plain strings.Builder
	s = newScreen(&plain)
	s.show("nothing")
	s.line("one")
	if plain.String() != "one\n" {
		t.Errorf("a file gets %q", plain.String())
	}
}

// What a handler says has no escapes that a terminal obeys, and a line about the end of a
// connection is left to the access log.
func TestLinesOfDev(t *testing.T) {
	var said strings.Builder
	d := &developing{screen: newScreen(&said)}
	log := slog.New(devLog{d: d, w: &said, level: slog.LevelInfo}).With("tenant", "a").With("listener", "shop")
	log.Info("handler", "connection", 1, "peer", "1.2.3.4:5", "text", "hel\x1b[2Jlo")
	log.Warn("connection closed", "connection", 1, "peer", "1.2.3.4:5", "cause", "trap")
	log.Info("listening")
	log.Debug("handler", "text", "too low")
	log.Error("something", "why", "broken", "mend", "mend it")
	a := &devAccess{d: d}
	line := `{"id":3,"listener":"shop","peer":"1.2.3.4:5","duration_seconds":1.5,"in":2048,"out":5,"events":4,"fuel":99,`
	for _, rest := range []string{`"open":true}`, `"open":true}`, `"code":"OK","why":"finished\u001b[2J"}`} {
		if _, err := a.Write([]byte(line + rest + "\n")); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		`shop 1.2.3.4:5: "hel\x1b[2Jlo"`,
		"ERROR shop: something; why: broken; mend: mend it",
		"shop 1.2.3.4:5: open for 1.5s: 2 KiB in, 5 bytes out, 4 events, 99 fuel",
		`shop 1.2.3.4:5: ended after 1.5s: 2 KiB in, 5 bytes out, 4 events, 99 fuel; OK: "finished\x1b[2J"`,
	}
	got := strings.Split(strings.TrimSpace(said.String()), "\n")
	if len(got) != len(want) {
		t.Fatalf("%q, want %q", got, want)
	}
	for i := range want {
		if _, text, _ := strings.Cut(got[i], " "); text != want[i] {
			t.Errorf("%q, want %q behind the time", got[i], want[i])
		}
	}
}
