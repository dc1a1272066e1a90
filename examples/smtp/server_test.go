package main

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"bulkhead/sdk/go"
	"bulkhead/sdk/go/guesttest"
)

const (
	greeting = "220 mx.example ESMTP\r\n"
	config   = `{"hostname":"mx.example","max_size":2000,"users":{"ann":"secret"}}`
	extended = "250-mx.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 2000\r\n"
	inClear  = extended + "250-STARTTLS\r\n250 ENHANCEDSTATUSCODES\r\n"
	underTLS = extended + "250-AUTH PLAIN LOGIN\r\n250 ENHANCEDSTATUSCODES\r\n"
)

func start(t testing.TB, config string) *guesttest.Host {
	t.Helper()
	return guesttest.New(t, &server{}, guesttest.Options{Config: config, Certificate: true})
}

// greeted is a client that has read the greeting.
func greeted(t testing.TB, config string) (*guesttest.Host, *guesttest.Peer) {
	t.Helper()
	h := start(t, config)
	p := h.Connect()
	p.Expect(greeting)
	return h, p
}

// secure goes through STARTTLS.
func secure(p *guesttest.Peer) {
	p.Send("STARTTLS\r\n")
	p.Receive()
	p.Handshake(nil)
}

// says wants these answers, by their codes, to these lines.
func says(t *testing.T, p *guesttest.Peer, pairs ...string) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		p.Send(pairs[i] + "\r\n")
		if got := p.Receive(); !strings.HasPrefix(got, pairs[i+1]) || !strings.HasSuffix(got, "\r\n") || strings.Count(got, "\r\n") != 1 {
			t.Errorf("%q is answered with %q, want %q", pairs[i], got, pairs[i+1])
		}
	}
}

func logged(from, to, message string) string {
	return fmt.Sprintf("message from=<%s> bytes=%d sha256=%x to=%s", from, len(message), sha256.Sum256([]byte(message)), to)
}

func TestOneMessage(t *testing.T) {
	const message = "Subject: hi\r\n\r\n.hidden\r\n..\r\ngr\xfc\xdfe\r\n"
	const talk = "EHLO client.example\r\nMAIL FROM:<ann@a.example> SIZE=50 BODY=8BITMIME\r\nRCPT TO:<bob@b.example>\r\nrcpt to: <Postmaster>\r\nDATA\r\n" +
		"Subject: hi\r\n\r\n..hidden\r\n...\r\ngr\xfc\xdfe\r\n.\r\nQUIT\r\nNOOP\r\n"
	for _, chunk := range []int{1, 2, 3, 50, 1000} {
		h, p := greeted(t, config)
		p.SendChunks(talk, chunk)
		sum := fmt.Sprintf("%x", sha256.Sum256([]byte(message)))[:16]
		p.Expect(inClear + "250 2.1.0 sender ok\r\n250 2.1.5 recipient ok\r\n250 2.1.5 recipient ok\r\n354 go on, and end with a dot\r\n" +
			"250 2.6.0 taken, and gone: " + sum + "\r\n221 2.0.0 good-bye\r\n")
		p.ExpectClosed(nil)
		want := logged("ann@a.example", "<bob@b.example>,<Postmaster>", message)
		if l := h.Log(); len(l) != 1 || l[0].Text != want || l[0].Level != guest.LogInfo {
			t.Errorf("logged %v, want %s", l, want)
		}
		if h.Counted("smtp_messages") != 1 || h.Counted("smtp_bytes") != int64(len(message)) {
			t.Errorf("counted %d messages of %d bytes", h.Counted("smtp_messages"), h.Counted("smtp_bytes"))
		}
	}
}

func TestCommands(t *testing.T) {
	_, p := greeted(t, config)
	says(t, p,
		"MAIL FROM:<a@b>", "503 5.5.1 EHLO",
		"EHLO", "501", "HELO two words", "501", "helo me", "250 mx.example",
		"MAIL FROM:<a@b> SIZE=1", "555", // HELO has no extensions
		"DATA", "503", "RCPT TO:<a@b>", "503",
		"mail from:<>", "250", "MAIL FROM:<a@b>", "503", "DATA", "503",
		"RCPT TO:<>", "501", "RCPT TO:<nobody>", "501", "RCPT TO:<a@b> NOTIFY=NEVER", "555", "RCPT <a@b>", "501",
		"RCPT TO:<a@b>", "250", "DATA now", "501", "RSET", "250", "DATA", "503",
		"NOOP whatever", "250", "VRFY ann", "252", "HELP", "214",
	)
	_, p = greeted(t, config)
	p.Send("EHLO x\r\n")
	p.Receive()
	says(t, p,
		"MAIL FROM:a@b", "501", "MAIL", "501", "MAIL FROM:<a@b>x", "501", "MAIL FROM:<a@b> SIZE=many", "501", "MAIL FROM:<a@b> SIZE=2001", "552 5.3.4",
		"MAIL FROM:<a@b> SIZE=99999999999999999999", "552", "MAIL FROM:<a@b> BODY=BINARYMIME", "555", "MAIL FROM:<a@b> AUTH=<>", "555", "MAIL FROM:<a@b> SMTPUTF8", "555",
		"EXPN all", "502", "BDAT 10 LAST", "502", "GET / HTTP/1.1", "500", "", "500", "NOOP \x01", "500", "N\xc3\xb6\xc3\xb6P", "500",
	)
}

func TestSTARTTLS(t *testing.T) {
	h, p := greeted(t, config)
	p.Send("EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\n")
	p.Receive()
	says(t, p, "STARTTLS now", "501")
	p.SendChunks("STARTTLS\r\n", 1)
	p.Expect("220 2.0.0 go ahead\r\n")
	if role, name, ok := p.Securing(); !ok || role != guest.TLSServer || name != "" {
		t.Fatalf("securing %v as %v", ok, role)
	}
	p.Handshake(nil)
	p.Expect("") // the client begins
	says(t, p, "DATA", "503", "RCPT TO:<a@b>", "503", "MAIL FROM:<a@b>", "503 5.5.1 EHLO first", "STARTTLS", "503")
	p.Send("EHLO x\r\n")
	p.Expect(underTLS)
	says(t, p, "STARTTLS", "503")
	if h.Counted("smtp_secured") != 1 {
		t.Error("it is not counted")
	}
}

// What comes in one piece with STARTTLS is not taken for something that was said under
// TLS, nor for anything else.
func TestSTARTTLSInjection(t *testing.T) {
	for _, behind := range []string{"x", "\r\n", "NOOP\r\n", "EHLO evil\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nspam\r\n.\r\n"} {
		for _, inbox := range []int{30, 64 << 10} { // and with the promise still on its way
			h := guesttest.New(t, &server{}, guesttest.Options{Config: config, Certificate: true, Inbox: inbox})
			p := h.Connect()
			p.Send("STARTTLS\r\n" + behind)
			if got := p.Receive(); got != greeting+"220 2.0.0 go ahead\r\n" {
				t.Errorf("%q: answered %q", behind, got)
			}
			p.ExpectClosed(guest.TLS)
			if h.Counted("smtp_messages") != 0 || h.Counted("smtp_secured") != 0 {
				t.Error("a message was smuggled in")
			}
		}
	}
}

// The 220 leaves in the clear, however slowly the client takes it.
func TestSTARTTLSToASlowReader(t *testing.T) {
	h := guesttest.New(t, &server{}, guesttest.Options{Config: config, Certificate: true, Inbox: len(greeting)})
	p := h.Connect()
	p.Send("STARTTLS\r\n")
	if _, _, ok := p.Securing(); ok {
		t.Fatal("TLS begins before the client was told")
	}
	p.Expect(greeting + "220 2.0.0 go ahead\r\n")
	p.Handshake(nil)
	p.Send("EHLO x\r\n")
	p.Expect(underTLS)
}

func TestSTARTTLSFails(t *testing.T) {
	h, p := greeted(t, config)
	p.Send("STARTTLS\r\n")
	p.Handshake(guest.TLS)
	p.ExpectClosed(guest.TLS)
	if h.Counted("smtp_secured") != 0 {
		t.Error("counted as secured")
	}
}

// STARTTLS is offered where it works: with a certificate, and unless the operator says no.
func TestSTARTTLSIsNotOffered(t *testing.T) {
	for name, o := range map[string]guesttest.Options{
		"no certificate":   {Config: config},
		"starttls = false": {Config: `{"starttls":false}`, Certificate: true},
	} {
		h := guesttest.New(t, &server{}, o)
		p := h.Connect()
		p.Send("EHLO x\r\n")
		if got := p.Receive(); strings.Contains(got, "STARTTLS") || !strings.Contains(got, "\r\n250 ") {
			t.Errorf("%s: it announces %q", name, got)
		}
		says(t, p, "STARTTLS", "502", "NOOP", "250")
	}
}

// With TLS from the start there is nothing to upgrade.
func TestImplicitTLS(t *testing.T) {
	p := start(t, config).ConnectTLS(guesttest.TLS{})
	p.Send("EHLO x\r\n")
	p.Expect(greeting + underTLS)
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestAuth(t *testing.T) {
	for name, lines := range map[string][]string{
		"PLAIN":              {"AUTH PLAIN " + b64("\x00ann\x00secret"), "235"},
		"PLAIN, in two":      {"auth plain", "334 ", b64("ann\x00ann\x00secret"), "235"},
		"LOGIN":              {"AUTH LOGIN", "334 VXNlcm5hbWU6", b64("ann"), "334 UGFzc3dvcmQ6", b64("secret"), "235"},
		"LOGIN with a name":  {"AUTH login " + b64("ann"), "334 UGFzc3dvcmQ6", b64("secret"), "235"},
		"wrong":              {"AUTH PLAIN " + b64("\x00ann\x00Secret"), "535"},
		"no password":        {"AUTH PLAIN " + b64("\x00ann\x00"), "535"},
		"nobody":             {"AUTH PLAIN " + b64("\x00\x00"), "535"},
		"unknown":            {"AUTH LOGIN " + b64("eve"), "334", "", "535"},
		"another's name":     {"AUTH PLAIN " + b64("bob\x00ann\x00secret"), "535"},
		"two fields":         {"AUTH PLAIN " + b64("ann\x00secret"), "501"},
		"no base64":          {"AUTH PLAIN !!", "501"},
		"no base64, in two":  {"AUTH LOGIN", "334", "!!", "501"},
		"an empty answer":    {"AUTH PLAIN =", "501"},
		"cancelled":          {"AUTH PLAIN", "334 ", "*", "501 5.7.0"},
		"no mechanism":       {"AUTH", "504"},
		"unknown mechanism":  {"AUTH CRAM-MD5", "504"},
		"a long line":        {"AUTH PLAIN", "334", b64(strings.Repeat("x", 9000)), "501"},
		"a line too long":    {"AUTH PLAIN", "334", strings.Repeat("A", 13000), "500", "NOOP", "250"},
		"and then it is off": {"AUTH PLAIN", "334", "*", "501", "NOOP", "250"},
	} {
		t.Run(name, func(t *testing.T) {
			h, p := greeted(t, config)
			secure(p)
			p.Send("EHLO x\r\n")
			p.Expect(underTLS)
			says(t, p, lines...)
			if lines[len(lines)-1] == "235" {
				says(t, p, "AUTH PLAIN", "503", "MAIL FROM:<a@b> AUTH=<>", "250")
			}
			if want := int64(strings.Count(strings.Join(lines, " "), " 535")); h.Counted("smtp_bad_logins") != want {
				t.Errorf("%d bad logins are counted", h.Counted("smtp_bad_logins"))
			}
		})
	}
}

// A line that does not end as it should is no answer either.
func TestAuthBareLF(t *testing.T) {
	_, p := greeted(t, config)
	secure(p)
	p.Send("EHLO x\r\n")
	p.Receive()
	says(t, p, "AUTH PLAIN", "334 ")
	p.Send("*\nNOOP\r\n")
	p.Expect("500 5.5.2 lines end in CR LF\r\n250 2.0.0 nothing done\r\n")
}

func TestAuthOnlyUnderTLS(t *testing.T) {
	_, p := greeted(t, config)
	p.Send("EHLO x\r\n")
	p.Expect(inClear)
	says(t, p, "AUTH PLAIN "+b64("\x00ann\x00secret"), "538", "AUTH LOGIN", "538", "NOOP", "250")
	h := start(t, `{}`)
	p = h.ConnectTLS(guesttest.TLS{})
	p.Send("EHLO x\r\n")
	if got := p.Receive(); strings.Contains(got, "AUTH") {
		t.Errorf("announced: %q", got)
	}
	says(t, p, "AUTH PLAIN", "502")
}

func TestAuthIsForgottenWithTheSession(t *testing.T) {
	h := start(t, strings.Replace(config, "{", `{"require_auth":true,`, 1))
	p := h.ConnectTLS(guesttest.TLS{})
	p.Send("EHLO x\r\n")
	p.Receive()
	says(t, p, "MAIL FROM:<a@b>", "530", "AUTH PLAIN "+b64("\x00ann\x00secret"), "235", "MAIL FROM:<a@b>", "250", "AUTH PLAIN", "503")
	q := h.ConnectTLS(guesttest.TLS{})
	q.Send("EHLO x\r\n")
	q.Receive()
	says(t, q, "MAIL FROM:<a@b>", "530")
}

func TestGuessing(t *testing.T) {
	_, p := greeted(t, config)
	secure(p)
	p.Send("EHLO x\r\n")
	p.Receive()
	for range maxBadLogins - 1 {
		says(t, p, "AUTH PLAIN "+b64("\x00ann\x00guess"), "535")
	}
	says(t, p, "AUTH PLAIN "+b64("\x00ann\x00guess"), "421")
	p.ExpectClosed(nil)
}

func TestLongLines(t *testing.T) {
	const short, long = "500 5.5.1 that is no command\r\n", "500 5.5.2 that line is too long\r\n"
	for _, chunk := range []int{1, 999, 1000, 1001, 1 << 20} {
		for n, want := range map[int]string{998: short, 999: long, 1000: long, 50_000: long} {
			_, p := greeted(t, config)
			p.SendChunks(strings.Repeat("x", n)+"\r\nNOOP\r\n", chunk)
			p.Expect(want + "250 2.0.0 nothing done\r\n")
		}
	}
}

func TestLimits(t *testing.T) {
	h, p := greeted(t, config)
	p.Send("EHLO x\r\n")
	p.Receive()
	says(t, p, "MAIL FROM:<a@b>", "250")
	for i := range maxRecipients {
		says(t, p, fmt.Sprintf("RCPT TO:<%s%d@b.example>", strings.Repeat("r", 60), i), "250")
	}
	says(t, p, "RCPT TO:<one.more@b.example>", "452", "DATA", "354", ".", "250")
	if l := h.Log(); len(l) != 1 || len(l[0].Text) >= guest.MaxLogLine || !strings.HasSuffix(l[0].Text, " more") {
		t.Errorf("logged %v", l)
	}
	for i := 1; i < maxErrors; i++ {
		says(t, p, "WHAT", "500")
	}
	p.Send("WHAT\r\nNOOP\r\n")
	p.Expect("500 5.5.1 that is no command\r\n421 4.7.0 too many errors\r\n")
	p.ExpectClosed(nil)
}

// A client that sends and does not read is not served further, and gets all of its answers
// when it does.
func TestUnreadAnswers(t *testing.T) {
	h := guesttest.New(t, &server{}, guesttest.Options{Config: config, Inbox: 100})
	p := h.Connect()
	const n = 3000
	p.Send(strings.Repeat("NOOP\r\n", n) + "QUIT\r\n")
	if got := p.Receive(); got != greeting+strings.Repeat("250 2.0.0 nothing done\r\n", n)+"221 2.0.0 good-bye\r\n" {
		t.Errorf("%d bytes of answers", len(got))
	}
	p.ExpectClosed(nil)
}

func TestLeaving(t *testing.T) {
	for _, said := range []string{"", "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\nhalf a message\r\n", "NOO", "NOOP"} {
		h, p := greeted(t, config)
		p.Send(said)
		p.CloseWrite()
		p.ExpectClosed(nil)
		if h.Counted("smtp_messages") != 0 {
			t.Error("half a message was taken")
		}
	}
}

// When the host stops, clients are told so, at the end of a message that has begun.
func TestStopIsSaid(t *testing.T) {
	const away = "421 4.3.2 the server stops; try again later\r\n"
	h, idle := greeted(t, config)
	sending := h.Connect()
	sending.Expect(greeting)
	sending.Send("EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\nhalf\r\n")
	sending.Receive()
	h.Stop()
	idle.Expect(away)
	idle.ExpectClosed(nil)
	sending.Expect("")
	sending.Send("a message\r\n.\r\n")
	if got := sending.Receive(); !strings.HasPrefix(got, "250 2.6.0 ") || !strings.HasSuffix(got, "\r\n"+away) {
		t.Errorf("the message is answered with %q", got)
	}
	sending.ExpectClosed(nil)
	if h.Counted("smtp_messages") != 1 {
		t.Error("the message was not taken")
	}
}

// A client that says nothing for too long is told so.
func TestIdleIsSaid(t *testing.T) {
	h, p := greeted(t, config)
	h.Advance(idle - guest.Second)
	p.Send("NOOP\r\n")
	p.Receive()
	h.Advance(idle - guest.Second)
	p.Expect("")
	h.Advance(guest.Second)
	p.Expect("421 4.4.2 nothing was said for too long\r\n")
	p.ExpectClosed(nil)
}

func TestBadConfig(t *testing.T) {
	for config, want := range map[string]string{
		`{"host":"x"}`:          `unknown field "host"`,
		`{"hostname":"a b"}`:    "is no host name",
		`{"hostname":""}`:       "is no host name",
		`{"max_size":0}`:        "max_size is a number",
		`{"require_auth":true}`: "somebody who can log in",
		`{"users":{"ann":""}}`:  "a user has a name and a password",
		`{"users":{"":"x"}}`:    "a user has a name and a password",
	} {
		code, log := guesttest.Refused(t, &server{}, guesttest.Options{Config: config})
		if code != guest.Invalid || len(log) != 1 || !strings.Contains(log[0].Text, want) {
			t.Errorf("%s: %v, %v", config, code, log)
		}
	}
}

// Whatever a client sends, the pieces that it comes in make no difference, and what is
// logged and counted is one line.
func FuzzSession(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string, tls bool) {
		if len(text) > 3000 {
			return
		}
		talk := func(chunk int) (heard string, messages, size int64, closed bool) {
			h := start(t, config)
			var p *guesttest.Peer
			if tls {
				p = h.ConnectTLS(guesttest.TLS{})
			} else {
				p = h.Connect()
			}
			for rest := text; rest != ""; {
				if _, _, ok := p.Securing(); ok {
					// A host does so when bytes are left, and the answers are lost here.
					p.Drop(guest.TLS)
					break
				}
				part := rest[:min(chunk, len(rest))]
				rest = rest[len(part):]
				p.Send(part)
			}
			_, closed = p.Closed()
			heard = p.Receive()
			for line := range strings.Lines(heard) {
				if !strings.HasSuffix(line, "\r\n") || len(line) < 6 || line[0] < '2' || line[0] > '5' {
					t.Errorf("answered %q", line)
				}
			}
			lines := 0
			for _, l := range h.Log() {
				if l.Level != guest.LogInfo || strings.ContainsAny(l.Text, "\r\n\x00") {
					t.Errorf("logged %v", l)
				}
				lines++
			}
			messages, size = h.Counted("smtp_messages"), h.Counted("smtp_bytes")
			if int64(lines) != messages || size > messages*2000 {
				t.Errorf("%d messages of %d bytes, %d lines", messages, size, lines)
			}
			return heard, messages, size, closed
		}
		h1, m1, s1, c1 := talk(1)
		h2, m2, s2, c2 := talk(max(1, len(text)))
		if m1 != m2 || s1 != s2 || c1 != c2 || h1 != h2 && !strings.HasSuffix(h2, "220 2.0.0 go ahead\r\n") {
			t.Errorf("byte by byte: %q, %d, %v; at once: %q, %d, %v", h1, m1, c1, h2, m2, c2)
		}
	})
}
