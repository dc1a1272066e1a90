package main

import (
	"strings"
	"testing"

	"bulkhead/sdk/go"
	"bulkhead/sdk/go/guesttest"
)

const (
	anonymous   = "\x05\x01\x00"                                                        // a greeting
	askName     = "\x05\x01\x00\x03\x0bexample.com\x01\xbb"                             // CONNECT example.com:443
	ask4        = "\x05\x01\x00\x01\xc6\x33\x64\x09\x00\x50"                            // CONNECT 198.51.100.9:80
	ask6        = "\x05\x01\x00\x04 \x01\x0d\xb8" + zeros8 + "\x00\x00\x00\x01\x1f\x90" // CONNECT [2001:db8::1]:8080
	zeros8      = "\x00\x00\x00\x00\x00\x00\x00\x00"
	noReply     = "\x00\x01\x00\x00\x00\x00\x00\x00"
	withUsers   = `{"users":{"ann":"secret","bob":"b"}}`
	annLogsIn   = "\x01\x03ann\x06secret"
	askPassword = "\x05\x02\x00\x02"
)

func start(t testing.TB, o guesttest.Options) *guesttest.Host {
	t.Helper()
	return guesttest.New(t, &server{}, o)
}

func TestConnect(t *testing.T) {
	for ask, want := range map[string]string{
		askName: "tcp://example.com:443", ask4: "tcp://198.51.100.9:80", ask6: "tcp://[2001:db8::1]:8080",
		"\x05\x01\x00\x03\x0a127.0.0.01\x00\x01": "tcp://127.0.0.01:1", // the host knows better
		"\x05\x01\x00\x03\x03::1\x00\x01":        "tcp://[::1]:1",
	} {
		for _, chunk := range []int{1, 2, 7, 100} {
			h := start(t, guesttest.Options{})
			p := h.Connect()
			p.SendChunks(anonymous+ask+"early bytes", chunk)
			p.Expect("\x05\x00")
			if len(h.Dials()) != 1 || h.Dials()[0].Address != want {
				t.Fatalf("%q: dialled %v", ask, h.Dials())
			}
			up := h.Dials()[0].Accept()
			p.Expect("\x05\x00\x00\x01\xc0\x00\x02\x02\x9c\x4a") // 192.0.2.2:40010
			up.Expect("early bytes")
			up.Send("an answer")
			p.Expect("an answer")
			p.Send("more")
			up.Expect("more")
			p.CloseWrite()
			if !up.Finished() {
				t.Error("the half-close was lost")
			}
			up.Send("the last of it")
			up.CloseWrite()
			p.Expect("the last of it")
			p.ExpectClosed(nil)
			if h.Counted("socks5_connected") != 1 || h.Counted("socks5_refused") != 0 || len(h.Log()) != 0 {
				t.Errorf("the log is %v", h.Log())
			}
		}
	}
}

func TestTheDialFails(t *testing.T) {
	for code, want := range map[guest.Code]string{
		guest.Denied: "\x02", guest.NotFound: "\x04", guest.Refused: "\x05", guest.Unreachable: "\x03", guest.Timeout: "\x06", guest.Reset: "\x05", guest.Quota: "\x01",
	} {
		h := start(t, guesttest.Options{})
		p := h.Connect()
		p.Send(anonymous + askName + "early")
		h.Dials()[0].Refuse(code)
		p.Expect("\x05\x00\x05" + want + noReply)
		p.ExpectClosed(nil)
		if h.Counted("socks5_refused") != 1 || h.Connections() != 0 {
			t.Errorf("%v: %d connections", code, h.Connections())
		}
	}
}

func TestMayNotDial(t *testing.T) {
	for code, want := range map[guest.Code]string{guest.Denied: "\x02", guest.Quota: "\x01"} {
		h := start(t, guesttest.Options{MayDial: func(string) guest.Code { return code }})
		p := h.Connect()
		p.Send(anonymous + askName)
		p.Expect("\x05\x00\x05" + want + noReply)
		p.ExpectClosed(nil)
	}
}

func TestRefused(t *testing.T) {
	for name, test := range map[string]struct{ ask, want string }{
		"bind":            {"\x05\x02" + ask4[2:], "\x07"},
		"udp":             {"\x05\x03" + askName[2:], "\x07"},
		"no command":      {"\x05\x00" + askName[2:], "\x07"},
		"no address type": {"\x05\x01\x00\x02aaaa\x00\x50", "\x08"},
		"reserved":        {"\x05\x01\x01\x01aaaa\x00\x50", "\x01"},
		"port 0":          {"\x05\x01\x00\x01aaaa\x00\x00", "\x01"},
		"an empty name":   {"\x05\x01\x00\x03\x00\x00\x50", "\x01"},
		"a path":          {"\x05\x01\x00\x03\x03a/b\x00\x50", "\x01"},
		"a query":         {"\x05\x01\x00\x03\x09a:1?proxy\x00\x50", "\x01"},
		"a port":          {"\x05\x01\x00\x03\x04a:80\x00\x50", "\x01"},
		"a user":          {"\x05\x01\x00\x03\x03a@b\x00\x50", "\x01"},
		"a zone":          {"\x05\x01\x00\x03\x09fe80::1%1\x00\x50", "\x01"},
		"brackets":        {"\x05\x01\x00\x03\x05[::1]\x00\x50", "\x01"},
		"nul":             {"\x05\x01\x00\x03\x03a\x00b\x00\x50", "\x01"},
		"a line feed":     {"\x05\x01\x00\x03\x02a\n\x00\x50", "\x01"},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, guesttest.Options{})
			p := h.Connect()
			p.SendChunks(anonymous+test.ask, 1)
			p.Expect("\x05\x00\x05" + test.want + noReply)
			p.ExpectClosed(nil)
			if len(h.Dials()) != 0 {
				t.Errorf("dialled %v", h.Dials()[0])
			}
		})
	}
}

func TestNotSOCKS5(t *testing.T) {
	for _, text := range []string{"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", "GET / HTTP/1.1\r\n", "\x05\x00", anonymous + "\x04", "\x00"} {
		h := start(t, guesttest.Options{})
		p := h.Connect()
		p.Send(text)
		p.ExpectClosed(guest.Invalid)
	}
}

func TestLogin(t *testing.T) {
	h := start(t, guesttest.Options{Config: withUsers})
	p := h.Connect()
	p.SendChunks(askPassword+annLogsIn+askName, 1)
	p.Expect("\x05\x02\x01\x00")
	h.Dials()[0].Accept()
	if got := p.Receive(); !strings.HasPrefix(got, "\x05\x00\x00\x01") {
		t.Errorf("answered %q", got)
	}
}

func TestBadLogin(t *testing.T) {
	for name, login := range map[string]string{
		"password":  "\x01\x03ann\x06secreT",
		"no":        "\x01\x03ann\x00",
		"another's": "\x01\x03ann\x01b",
		"unknown":   "\x01\x03eve\x06secret",
		"nobody":    "\x01\x03eve\x00",
	} {
		h := start(t, guesttest.Options{Config: withUsers})
		p := h.Connect()
		p.Send(askPassword + login + askName)
		p.Expect("\x05\x02\x01\x01")
		p.ExpectClosed(nil)
		if len(h.Dials()) != 0 || h.Counted("socks5_bad_logins") != 1 {
			t.Errorf("%s: dialled %v", name, h.Dials())
		}
	}
	h := start(t, guesttest.Options{Config: withUsers})
	p := h.Connect()
	p.Send(askPassword + "\x01\x00\x06secret")
	p.ExpectClosed(guest.Invalid)
	p = h.Connect()
	p.Send(anonymous + askName) // has no password to offer
	p.Expect("\x05\xff")
	p.ExpectClosed(nil)
	h = start(t, guesttest.Options{})
	p = h.Connect()
	p.Send("\x05\x01\x02") // nobody asks for its password
	p.Expect("\x05\xff")
	p.ExpectClosed(nil)
}

func TestBadConfig(t *testing.T) {
	for config, want := range map[string]string{
		`{"user":{}}`:                `start: config: json: unknown field "user"`,
		`{"users":{"":"x"}}`:         "start: config: users: : a name and a password have 1 to 255 bytes each",
		`{"users":{"ann":""}}`:       "start: config: users: ann: a name and a password have 1 to 255 bytes each",
		`{"users":["ann","secret"]}`: "",
	} {
		code, log := guesttest.Refused(t, &server{}, guesttest.Options{Config: config})
		if code != guest.Invalid || len(log) != 1 || want != "" && log[0].Text != want {
			t.Errorf("%s: %v, %v", config, code, log)
		}
	}
}

// Each may leave at any moment, and then so does the other.
func TestLeaving(t *testing.T) {
	h := start(t, guesttest.Options{})
	p := h.Connect()
	p.Send(anonymous + askName)
	p.Break()
	if h.Dials()[0].Pending() {
		t.Error("still dialling for a client that has gone")
	}
	p = h.Connect()
	p.Send(anonymous)
	p.CloseWrite()
	p.ExpectClosed(nil)
	p = h.Connect()
	p.Send(anonymous + ask4)
	up := h.Dials()[1].Accept()
	up.Break()
	p.ExpectClosed(guest.Reset)
	p = h.Connect()
	p.Send(anonymous + ask4)
	p.CloseWrite() // it has said all it has to say
	up = h.Dials()[2].Accept()
	if !up.Finished() {
		t.Error("the end that came while it was dialled was lost")
	}
	up.Send("still answered")
	if got := p.Receive(); !strings.HasSuffix(got, "still answered") {
		t.Errorf("received %q", got)
	}
	up.CloseWrite()
	if h.Connections() != 0 {
		t.Errorf("%d connections are left", h.Connections())
	}
}

func TestTooSlow(t *testing.T) {
	for _, said := range []string{"", anonymous, anonymous + askName[:7]} {
		h := start(t, guesttest.Options{})
		p := h.Connect()
		p.Send(said)
		h.Advance(hurryUp - guest.Millisecond)
		if _, closed := p.Closed(); closed {
			t.Fatal("closed too early")
		}
		h.Advance(guest.Millisecond)
		p.ExpectClosed(nil)
	}
	h := start(t, guesttest.Options{})
	p := h.Connect()
	p.Send(anonymous + askName)
	h.Advance(guest.Hour)
	if !h.Dials()[0].Pending() {
		t.Error("the dial has the client's time, and not the host's")
	}
}

// The reply goes before the relayed bytes, also to a client that has not read what came
// before.
func TestSlowReader(t *testing.T) {
	for _, inbox := range []int{1, 2, 3, 5, 11} {
		h := start(t, guesttest.Options{Inbox: inbox})
		p := h.Connect()
		p.Send(anonymous)
		p.ReceiveN(2)
		p.ReceiveN(2)
		p.Send(ask4 + "early")
		up := h.Dials()[0].Accept()
		up.Send("speaks first")
		got := p.ReceiveN(3)
		got += p.Receive()
		if want := "\x05\x00\x00\x01\xc0\x00\x02\x02\x9c\x4aspeaks first"; got != want {
			t.Errorf("inbox %d: received %q", inbox, got)
		}
		up.Expect("early")
	}
	// And one whose upstream gives up meanwhile.
	h := start(t, guesttest.Options{Inbox: 1})
	p := h.Connect()
	p.Send(anonymous)
	p.Receive()
	p.Send(ask4)
	h.Dials()[0].Accept().Break()
	p.Receive()
	p.ExpectClosed(nil)
}
