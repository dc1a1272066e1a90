package main

import (
	"strings"
	"testing"

	"bulkhead/sdk/go"
	"bulkhead/sdk/go/guesttest"
)

// Each message is waited for to its last byte, and what is behind it changes
// nothing.
func TestPrefixes(t *testing.T) {
	whole := "\x05\x03\x00\x01\x02"
	for i := range len(whole) {
		if _, n, err := parseGreeting([]byte(whole[:i])); n != 0 || err != nil {
			t.Errorf("a greeting of %d bytes: %d, %v", i, n, err)
		}
	}
	if m, n, err := parseGreeting([]byte(whole + "\x05")); n != len(whole) || err != nil || string(m) != "\x00\x01\x02" {
		t.Errorf("%q, %d, %v", m, n, err)
	}
	whole = "\x01\x03ann\x06secret"
	for i := range len(whole) {
		if _, _, n, err := parseLogin([]byte(whole[:i])); n != 0 || err != nil {
			t.Errorf("a login of %d bytes: %d, %v", i, n, err)
		}
	}
	if u, p, n, err := parseLogin([]byte(whole + "\x05")); n != len(whole) || err != nil || string(u) != "ann" || string(p) != "secret" {
		t.Errorf("%q, %q, %d, %v", u, p, n, err)
	}
	for _, whole := range []string{askName, ask4, ask6} {
		for i := range len(whole) {
			if _, n, answer, err := parseRequest([]byte(whole[:i])); n != 0 || answer != succeeded || err != nil {
				t.Errorf("a request of %d bytes: %d, %d, %v", i, n, answer, err)
			}
		}
		if _, n, answer, err := parseRequest([]byte(whole + "\xff")); n != len(whole) || answer != succeeded || err != nil {
			t.Errorf("%q: %d, %d, %v", whole, n, answer, err)
		}
	}
}

func TestReply(t *testing.T) {
	for local, want := range map[string]string{
		"192.0.2.1:258":       "\x05\x00\x00\x01\xc0\x00\x02\x01\x01\x02",
		"[2001:db8::1]:65535": "\x05\x00\x00\x04 \x01\x0d\xb8" + zeros8 + "\x00\x00\x00\x01\xff\xff",
		"":                    "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00",
		"/run/sock":           "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00",
	} {
		if got := string(reply(succeeded, local)); got != want {
			t.Errorf("%q: %q, want %q", local, got, want)
		}
	}
}

// Whatever a client sends, in whatever pieces: nothing but a name or an address gets
// into what is dialled, and the pieces make no difference.
func FuzzRequest(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string, users bool) {
		if len(text) > 2000 {
			return
		}
		config := "{}"
		if users {
			config = withUsers
		}
		talk := func(chunk int) (dialled, heard string, closed bool) {
			h := start(t, guesttest.Options{Config: config})
			p := h.Connect()
			p.SendChunks(text, chunk)
			heard = p.Receive()
			for _, d := range h.Dials() {
				dialled += d.Address
				host := strings.TrimPrefix(d.Address, "tcp://")
				host = host[:strings.LastIndexByte(host, ':')]
				if strings.ContainsAny(host, "/?@%# \\\x00\r\n") || strings.Contains(host, ":") != strings.HasPrefix(host, "[") {
					t.Errorf("dialled %q", d.Address)
				}
			}
			if len(h.Dials()) > 1 {
				t.Errorf("one client, %d dials", len(h.Dials()))
			} else if len(h.Dials()) == 1 {
				if users && !strings.Contains(text, annLogsIn) && !strings.Contains(text, "\x01\x03bob\x01b") {
					t.Error("dialled for nobody in particular")
				}
				h.Dials()[0].Refuse(guest.Refused)
			}
			_, closed = p.Closed()
			return dialled, heard, closed
		}
		d1, h1, c1 := talk(1)
		d2, h2, c2 := talk(len(text))
		if d1 != d2 || h1 != h2 || c1 != c2 {
			t.Errorf("byte by byte: %q %q %v; at once: %q %q %v", d1, h1, c1, d2, h2, c2)
		}
	})
}
