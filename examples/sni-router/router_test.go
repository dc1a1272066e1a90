package main

import (
	"crypto/tls"
	"strings"
	"testing"

	"bulkhead/sdk/go"
	"bulkhead/sdk/go/guesttest"
)

const config = `{
	"routes": {
		"www.Example.com": {"to": "tcp://10.0.0.1:443"},
		"*.example.com": {"to": "tcp://10.0.0.2:443", "proxy": "v2"},
		"*.deep.example.com": {"to": "unix:///run/deep.sock", "proxy": "v1"}
	}%
}`

const fallback = `, "default": {"to": "tcp://10.0.0.9:443"}`

func start(t testing.TB, more string) *guesttest.Host {
	t.Helper()
	return guesttest.New(t, &router{}, guesttest.Options{Config: strings.Replace(config, "%", more, 1)})
}

func helloFor(t testing.TB, name string) string {
	t.Helper()
	return string(captured(t, &tls.Config{ServerName: name, InsecureSkipVerify: name == ""}))
}

const alert = "\x15\x03\x03\x00\x02\x02"

func TestRoutes(t *testing.T) {
	for name, want := range map[string]string{
		"www.example.com":      "tcp://10.0.0.1:443",
		"WWW.EXAMPLE.COM":      "tcp://10.0.0.1:443",
		"mail.example.com":     "tcp://10.0.0.2:443?proxy=v2",
		"a.www.example.com":    "tcp://10.0.0.2:443?proxy=v2",
		"x.deep.example.com":   "unix:///run/deep.sock?proxy=v1",
		"y.x.deep.example.com": "unix:///run/deep.sock?proxy=v1",
		"deep.example.com":     "tcp://10.0.0.2:443?proxy=v2",
		"example.com":          "",
		"evilexample.com":      "",
		"www.example.com.evil": "",
		"com":                  "",
		"":                     "",
	} {
		for _, more := range []string{"", fallback} {
			h := start(t, more)
			p := h.Connect()
			hello := helloFor(t, name)
			p.Send(hello)
			want := want
			if want == "" && more != "" {
				want = "tcp://10.0.0.9:443"
			}
			if want == "" {
				p.Expect(alert + "\x70")
				p.ExpectClosed(nil)
				if len(h.Dials()) != 0 || h.Counted("sni_unknown") != 1 {
					t.Errorf("%q: dialled %v", name, h.Dials())
				}
				continue
			}
			if len(h.Dials()) != 1 || h.Dials()[0].Address != want {
				t.Fatalf("%q: dialled %v, want %s", name, h.Dials(), want)
			}
			h.Dials()[0].Accept().Expect(hello)
		}
	}
}

// The upstream gets every byte from the first on, however they came.
func TestRelay(t *testing.T) {
	hello := helloFor(t, "www.example.com")
	for _, chunk := range []int{1, 5, 6, 100, len(hello), 1 << 20} {
		h := start(t, "")
		p := h.Connect()
		p.SendChunks(hello+"and more", chunk)
		up := h.Dials()[0].Accept()
		up.Expect(hello + "and more")
		up.Send("answer")
		p.Expect("answer")
		p.CloseWrite()
		up.CloseWrite()
		p.ExpectClosed(nil)
		if h.Counted("sni_routed") != 1 || len(h.Log()) != 0 || h.Connections() != 0 {
			t.Errorf("the log is %v", h.Log())
		}
		// Nobody was called for every byte.
		if n := len(p.Events()); chunk == 1 && n > 5 {
			t.Errorf("%d callbacks for one hello", n)
		}
	}
}

func TestRecords(t *testing.T) {
	hello := string(inRecords(captured(t, &tls.Config{ServerName: "www.example.com"}), 20))
	h := start(t, "")
	p := h.Connect()
	p.SendChunks(hello, 3)
	h.Dials()[0].Accept().Expect(hello)
}

func TestBadHellos(t *testing.T) {
	for text, want := range map[string]struct {
		answer string
		reason error
	}{
		"GET / HTTP/1.1\r\n":                        {"", guest.Invalid},
		"\x16\x03\x01\x00\x04\x02\x00\x00\x00":      {alert + "\x32", nil},
		"\x16\x03\x01\x00\x04\x01\xff\xff\xff":      {alert + "\x32", nil},
		string(build(sni("\x00" + counted("a b")))): {alert + "\x32", nil},
	} {
		h := start(t, fallback)
		p := h.Connect()
		p.SendChunks(text, 1)
		p.Expect(want.answer)
		p.ExpectClosed(want.reason)
		if len(h.Dials()) != 0 {
			t.Errorf("%q: dialled %v", text, h.Dials()[0])
		}
	}
}

func TestTheDialFails(t *testing.T) {
	h := start(t, "")
	for i, code := range []guest.Code{guest.Refused, guest.Timeout, guest.Denied} {
		p := h.Connect()
		p.Send(helloFor(t, "www.example.com"))
		h.Dials()[i].Refuse(code)
		p.Expect(alert + "\x50")
		p.ExpectClosed(nil)
		if want := "no connection to tcp://10.0.0.1:443: " + code.Error(); len(h.Log()) != i+1 || h.Log()[i].Text != want {
			t.Errorf("the log is %v", h.Log())
		}
	}
	h = guesttest.New(t, &router{}, guesttest.Options{Config: strings.Replace(config, "%", "", 1), MayDial: func(string) guest.Code { return guest.Denied }})
	p := h.Connect()
	p.Send(helloFor(t, "www.example.com"))
	p.Expect(alert + "\x50")
	p.ExpectClosed(nil)
	if h.Counted("sni_failed") != 1 || len(h.Log()) != 1 {
		t.Errorf("the log is %v", h.Log())
	}
}

func TestLeaving(t *testing.T) {
	h := start(t, "")
	p := h.Connect()
	p.Send(helloFor(t, "www.example.com"))
	p.Break()
	if h.Dials()[0].Pending() || len(h.Log()) != 0 {
		t.Errorf("still dialling; the log is %v", h.Log())
	}
	p = h.Connect()
	p.Send(helloFor(t, "www.example.com")[:50])
	p.CloseWrite()
	p.ExpectClosed(nil)
	p = h.Connect()
	p.Send(helloFor(t, "www.example.com"))
	p.CloseWrite() // before the upstream is up
	if up := h.Dials()[1].Accept(); !up.Finished() {
		t.Error("the half-close was lost")
	}
}

func TestTooSlow(t *testing.T) {
	h := start(t, "")
	for _, said := range []string{"", helloFor(t, "www.example.com")[:100]} {
		p := h.Connect()
		p.Send(said)
		h.Advance(hurryUp)
		p.ExpectClosed(nil)
	}
	p := h.Connect()
	p.Send(helloFor(t, "www.example.com"))
	h.Advance(guest.Hour)
	if !h.Dials()[0].Pending() {
		t.Error("the dial has the client's time, and not the host's")
	}
}

func TestBadConfig(t *testing.T) {
	for config, want := range map[string]string{
		`{}`:                                      "there is nowhere to go",
		`{"route":{}}`:                            `unknown field "route"`,
		`{"routes":{"a b":{"to":"tcp://a:1"}}}`:   "a b is no host name",
		`{"routes":{"*":{"to":"tcp://a:1"}}}`:     "* is no host name",
		`{"routes":{"a.*.b":{"to":"tcp://a:1"}}}`: "a.*.b is no host name",
		`{"routes":{"A.b":{"to":"tcp://a:1"},"a.b":{"to":"tcp://a:1"}}}`: "a.b is there twice",
		`{"routes":{"a.b":{"to":"tls://a:1"}}}`:                          "is no upstream",
		`{"routes":{"a.b":{"to":"tcp://a:1?proxy=v2"}}}`:                 "is no upstream",
		`{"routes":{"a.b":{"to":"tcp://a:1","proxy":"v3"}}}`:             "is no version",
		`{"routes":{"a.b":{}}}`:                                          "is no upstream",
		`{"default":{"to":"a:1"}}`:                                       "config: default: ",
	} {
		code, log := guesttest.Refused(t, &router{}, guesttest.Options{Config: config})
		if code != guest.Invalid || len(log) != 1 || !strings.Contains(log[0].Text, want) {
			t.Errorf("%s: %v, %v", config, code, log)
		}
	}
}
