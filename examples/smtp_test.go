package examples_test

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/host"
	"bulkhead/internal/certstest"
	"bulkhead/internal/hosttest"
)

// bothSinks runs a test for the handler in Go and for the one in JavaScript: whoever talks to them
// sees no difference.
func bothSinks(t *testing.T, test func(t *testing.T, plugin string)) {
	for _, plugin := range []string{"smtp.wasm", "smtp.js"} {
		t.Run(plugin, func(t *testing.T) { test(t, plugin) })
	}
}

// mailSink is one of the handlers with a certificate for mail.test.
type mailSink struct {
	*host.Host
	log  *hosttest.Lines
	ca   *certstest.Authority
	file string // the authority's certificate
	addr string
	port string
}

func serveMail(t *testing.T, plugin, more string) *mailSink {
	t.Helper()
	plugin, err := filepath.Abs(filepath.Join("smtp", plugin))
	if err != nil {
		t.Fatal(err)
	}
	ca, dir := certstest.NewAuthority(t), t.TempDir()
	cert, key := ca.Write(t, dir, "mail", "mail.test", "127.0.0.1")
	log := hosttest.NewLines(t)
	h := hosttest.Serve(t, fmt.Sprintf(`
[host]
state = %q
[tenant.mail]
memory = "128MiB"
bandwidth = "1GiB/s"
[[listener]]
name = "smtp"
tenant = "mail"
address = "tcp://127.0.0.1:0"
plugin = %q
  [listener.tls]
  cert = %q
  key = %q
  starttls = true
  [listener.config]
  hostname = "mail.test"
  users = { ann = "secret" }
  %s
`, hosttest.State(), plugin, cert, key, more), host.Options{Log: log.Log()})
	addr := h.Addr("smtp")
	return &mailSink{h, log, ca, ca.WriteCA(t, dir, "ca.pem"), addr, addr[strings.LastIndexByte(addr, ':')+1:]}
}

func (m *mailSink) counted(name string) int64 { return m.Stats().Tenants[0].Counts[name] }

// took waits until the log has a message that is just this, as it comes out of SMTP.
func (m *mailSink) took(t *testing.T, message string) {
	t.Helper()
	m.log.Wait(fmt.Sprintf("bytes=%d sha256=%x", len(message), sha256.Sum256([]byte(message))))
}

// letter has everything in it that SMTP has to hide: dots, empty lines, 8-bit bytes.
const letter = "From: ann@a.test\r\nTo: bob@b.test\r\nSubject: dots\r\n\r\n.\r\n..\r\n.hidden\r\n...three\r\nmid.dle.\r\n\r\ngr\xfc\xdfe\r\n.\r\n\r\nbye\r\n"

func swaks(t *testing.T, m *mailSink, args ...string) hosttest.Ran {
	t.Helper()
	return hosttest.Run(t, "", "swaks", append([]string{"--server", m.addr, "--helo", "client.test", "--from", "ann@a.test", "--to", "bob@b.test"}, args...)...)
}

// needSwaksTLS skips the test where swaks has no TLS.
func needSwaksTLS(t *testing.T) {
	t.Helper()
	hosttest.Need(t, "swaks", "swaks")
	if r := hosttest.Run(t, "", "swaks", "--support"); !strings.Contains(r.Out, "TLS supported") {
		t.Skip("swaks has no TLS here; it needs Debian's package libnet-ssleay-perl")
	}
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSMTPSwaks(t *testing.T) { bothSinks(t, testSMTPSwaks) }

func testSMTPSwaks(t *testing.T, plugin string) {
	hosttest.Need(t, "swaks", "swaks")
	m := serveMail(t, plugin, "")
	if r := swaks(t, m, "--to", "bob@b.test,eve@b.test", "--body", "hello", "--header", "Subject: plain"); r.Code != 0 || !strings.Contains(r.Out, "<-  250 2.6.0 taken, and gone") || !strings.Contains(r.Out, "<-  221 ") {
		t.Error(r)
	}
	m.log.Wait("message from=<ann@a.test>", "to=<bob@b.test>,<eve@b.test>")

	// Byte for byte: swaks adds dots, and the sink takes them off; swaks also ends the
	// text with an empty line.
	if r := swaks(t, m, "--data", "@"+writeFile(t, strings.ReplaceAll(letter, "\r\n", "\n"))); r.Code != 0 {
		t.Error(r)
	}
	m.took(t, letter+"\r\n")
	// As it is, with the dots of somebody else.
	if r := swaks(t, m, "--no-data-fixup", "--data", "@"+writeFile(t, dotted(letter)+".\r\n")); r.Code != 0 {
		t.Error(r)
	}
	m.took(t, letter)
	// With a message smuggled in behind an end that only some servers take for one.
	for _, end := range []string{"\n.\n", "\n.\r\n", "\r.\r", "\r\n.\n", "\r\n.\r"} {
		before := m.counted("smtp_messages")
		r := swaks(t, m, "--no-data-fixup", "--data", "@"+writeFile(t, "Subject: one"+end+"MAIL FROM:<x@a.test>\r\nRCPT TO:<y@b.test>\r\nDATA\r\nSubject: two\r\n.\r\n"))
		if r.Code == 0 || !strings.Contains(r.Out, "554 5.6.0 lines end in CR LF") || m.counted("smtp_messages") != before {
			t.Errorf("%q: %v", end, r)
		}
	}

	// Everybody at once, and pipelined.
	if r := swaks(t, m, "--pipeline", "--body", "quickly"); r.Code != 0 || strings.Index(r.Out, "-> DATA") > strings.Index(r.Out, "<-  250 2.1.0") {
		t.Error(r)
	}
	hosttest.Eventually(t, "nobody is connected", func() bool { return m.Stats().Connections == 0 })
}

// dotted is a message as SMTP sends it.
func dotted(message string) string {
	var b strings.Builder
	for line := range strings.SplitAfterSeq(message, "\r\n") {
		if strings.HasPrefix(line, ".") {
			b.WriteByte('.')
		}
		b.WriteString(line)
	}
	return b.String()
}

func TestSMTPSwaksTLS(t *testing.T) { bothSinks(t, testSMTPSwaksTLS) }

func testSMTPSwaksTLS(t *testing.T, plugin string) {
	needSwaksTLS(t)
	m := serveMail(t, plugin, "require_auth = true")
	for i, version := range []string{"tlsv1_2", "tlsv1_3"} {
		for _, mechanism := range []string{"PLAIN", "LOGIN"} {
			r := swaks(t, m, "--tls", "--tls-protocol", version, "--tls-verify", "--tls-ca-path", m.file, "--tls-sni", "mail.test",
				"--auth", mechanism, "--auth-user", "ann", "--auth-password", "secret", "--body", "hello")
			if r.Code != 0 || !strings.Contains(r.Out, "~> AUTH "+mechanism) || !strings.Contains(r.Out, "<~  235 2.7.0 welcome") || !strings.Contains(r.Out, "<~  250 2.6.0 taken") {
				t.Error(r)
			}
			if want := fmt.Sprintf("TLS started with cipher TLSv1.%d:", 2+i); !strings.Contains(r.Out, want) {
				t.Errorf("not %s: %v", want, r)
			}
		}
	}
	if n := m.counted("smtp_secured"); n != 4 {
		t.Errorf("%d connections were secured", n)
	}
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"wrong password": {[]string{"--tls", "--auth", "PLAIN", "--auth-user", "ann", "--auth-password", "Secret"}, []string{"<~* 535 5.7.8"}},
		"wrong name":     {[]string{"--tls", "--auth", "LOGIN", "--auth-user", "eve", "--auth-password", "secret"}, []string{"<~* 535 5.7.8"}},
		"in the clear":   {[]string{"--auth", "PLAIN", "--auth-user", "ann", "--auth-password", "secret"}, []string{"Host did not advertise authentication"}},
		"nobody":         {[]string{"--tls"}, []string{"<~* 530 5.7.0 log in first"}},
		"an old version": {[]string{"--tls", "--tls-protocol", "tlsv1_1"}, []string{"TLS startup failed"}},
	} {
		before := m.counted("smtp_messages")
		r := swaks(t, m, c.args...)
		if r.Code == 0 || m.counted("smtp_messages") != before {
			t.Errorf("%s: %v", name, r)
		}
		for _, want := range c.want {
			if !strings.Contains(r.Out+r.Err, want) {
				t.Errorf("%s: not %q: %v", name, want, r)
			}
		}
	}
	if n := m.counted("smtp_bad_logins"); n != 2 {
		t.Errorf("%d bad logins are counted", n)
	}
}

// Who logs in without TLS is refused, whatever he was told.
func TestSMTPAuthInTheClear(t *testing.T) { bothSinks(t, testSMTPAuthInTheClear) }

func testSMTPAuthInTheClear(t *testing.T, plugin string) {
	m := serveMail(t, plugin, "")
	c := hosttest.Dial(t, m.addr)
	hosttest.Hear(t, c, "220 mail.test ESMTP\r\n")
	hosttest.Say(t, c, "EHLO client.test\r\n")
	hosttest.Hear(t, c, "250-mail.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 10485760\r\n250-STARTTLS\r\n250 ENHANCEDSTATUSCODES\r\n")
	hosttest.Say(t, c, "AUTH PLAIN AGFubgBzZWNyZXQ=\r\n")
	hosttest.Hear(t, c, "538 5.7.11 encryption is required; use STARTTLS\r\n")
	hosttest.Say(t, c, "AUTH LOGIN\r\nYW5u\r\n")
	hosttest.Hear(t, c, "538 5.7.11 encryption is required; use STARTTLS\r\n500 5.5.1 that is no command\r\n")
	hosttest.Say(t, c, "QUIT\r\n")
	hosttest.Hear(t, c, "221 2.0.0 good-bye\r\n")
	hosttest.HearEnd(t, c)
}

const injected = "EHLO evil.test\r\nMAIL FROM:<evil@a.test>\r\nRCPT TO:<bob@b.test>\r\nDATA\r\nSubject: injected\r\n\r\nspam\r\n.\r\n"

// What somebody in between adds behind STARTTLS is not done, neither before nor after the
// handshake, and the client finds out.
func TestSMTPInjection(t *testing.T) { bothSinks(t, testSMTPInjection) }

func testSMTPInjection(t *testing.T, plugin string) {
	m := serveMail(t, plugin, "")
	config := &tls.Config{RootCAs: m.ca.Pool(), ServerName: "mail.test"}
	for name, attack := range map[string]func(c io.ReadWriter) error{
		"in one piece": func(c io.ReadWriter) error {
			_, err := io.WriteString(c, "STARTTLS\r\n"+injected)
			return err
		},
		"a blank": func(c io.ReadWriter) error {
			_, err := io.WriteString(c, "STARTTLS\r\n ")
			return err
		},
		"in place of the handshake": func(c io.ReadWriter) error {
			if _, err := io.WriteString(c, "STARTTLS\r\n"); err != nil {
				return err
			}
			hosttest.Hear(t, c, "220 2.0.0 go ahead\r\n")
			_, err := io.WriteString(c, injected)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := hosttest.Dial(t, m.addr)
			hosttest.Hear(t, c, "220 mail.test ESMTP\r\n")
			hosttest.Say(t, c, "EHLO client.test\r\n")
			hosttest.Hear(t, c, "250-mail.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 10485760\r\n250-STARTTLS\r\n250 ENHANCEDSTATUSCODES\r\n")
			if err := attack(c); err != nil {
				t.Fatal(err)
			}
			said, err := io.ReadAll(c)
			// It may only send an alert.
			if rest := strings.TrimPrefix(string(said), "220 2.0.0 go ahead\r\n"); len(rest) > 7 || strings.Contains(rest, "250") {
				t.Errorf("it says %q, %v", said, err)
			}
			_ = c.Close()
		})
	}
	// The client's own handshake behind what was added: it must fail, not lead into a
	// session that has heard the addition.
	c := hosttest.Dial(t, m.addr)
	hosttest.Hear(t, c, "220 mail.test ESMTP\r\n")
	hosttest.Say(t, c, "STARTTLS\r\nNOOP\r\n")
	hosttest.Hear(t, c, "220 2.0.0 go ahead\r\n")
	if err := tls.Client(c, config).Handshake(); err == nil {
		t.Error("the handshake succeeds behind bytes that were added")
	}
	_ = c.Close()
	hosttest.Eventually(t, "all are gone", func() bool { return m.Stats().Connections == 0 })
	if m.counted("smtp_messages") != 0 || m.counted("smtp_secured") != 0 {
		t.Error("a message was taken")
	}
	m.log.Wait("bytes came in the clear behind the request for TLS")

	// And without an addition all is well. What was said in the clear is forgotten.
	c = hosttest.Dial(t, m.addr)
	hosttest.Hear(t, c, "220 mail.test ESMTP\r\n")
	hosttest.Say(t, c, "STARTTLS\r\n")
	hosttest.Hear(t, c, "220 2.0.0 go ahead\r\n")
	s := tls.Client(c, config)
	hosttest.Say(t, s, injected)
	hosttest.Hear(t, s, "250-mail.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 10485760\r\n250-AUTH PLAIN LOGIN\r\n250 ENHANCEDSTATUSCODES\r\n250 2.1.0")
	_ = s.Close()
}

func TestSMTPOpenSSL(t *testing.T) { bothSinks(t, testSMTPOpenSSL) }

func testSMTPOpenSSL(t *testing.T, plugin string) {
	hosttest.Need(t, "openssl", "openssl")
	m := serveMail(t, plugin, "")
	sclient := func(args ...string) hosttest.Ran {
		return hosttest.Run(t, "EHLO client.test\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\nQUIT\r\n", "openssl", append([]string{"s_client", "-connect", m.addr, "-starttls", "smtp", "-quiet", "-verify_return_error"}, args...)...)
	}
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		r := sclient(version, "-CAfile", m.file, "-servername", "mail.test", "-verify_hostname", "mail.test")
		if r.Code != 0 || !strings.Contains(r.Out, "250-AUTH PLAIN LOGIN") || !strings.Contains(r.Out, "235 2.7.0 welcome\r\n221 2.0.0 good-bye\r\n") {
			t.Errorf("%s: %v", version, r)
		}
	}
	for name, args := range map[string][]string{
		"an unknown authority": {"-CAfile", certstest.NewAuthority(t).WriteCA(t, t.TempDir(), "ca.pem")},
		"another name":         {"-CAfile", m.file, "-verify_hostname", "other.test"},
		"an old version":       {"-tls1_1"},
	} {
		if r := sclient(args...); r.Code == 0 || strings.Contains(r.Out, "250-") {
			t.Errorf("%s: %v", name, r)
		}
	}
	hosttest.Eventually(t, "all are gone", func() bool { return m.Stats().Connections == 0 })
	if n := m.counted("smtp_secured"); n != 2 {
		t.Errorf("%d connections were secured", n)
	}
}

var message = flag.Int("message", 1, "MiB that a message may have for TestSMTPCurl, which sends smaller and larger ones")

func TestSMTPCurl(t *testing.T) { bothSinks(t, testSMTPCurl) }

func testSMTPCurl(t *testing.T, plugin string) {
	hosttest.Need(t, "curl", "curl")
	limit := *message << 20
	m := serveMail(t, plugin, fmt.Sprint("max_size = ", limit))
	curl := func(stdin string, args ...string) hosttest.Ran {
		t.Helper()
		return hosttest.Run(t, stdin, "curl", append([]string{"-q", "-sS", "--ssl-reqd", "--cacert", m.file, "--connect-to", "::127.0.0.1:" + m.port,
			"--mail-from", "ann@a.test", "--mail-rcpt", "bob@b.test"}, args...)...)
	}
	if r := curl(letter, "smtp://mail.test:25", "--user", "ann:secret", "--upload-file", "-"); r.Code != 0 {
		t.Error(r)
	}
	m.took(t, letter)
	// A big one, with dots at the start of many of its lines.
	var b strings.Builder
	for i := 0; b.Len() < limit/10*9; i++ {
		fmt.Fprintf(&b, "%s%d %x\r\n", strings.Repeat(".", i%4), i, sha256.Sum256([]byte{byte(i), byte(i >> 8), byte(i >> 16)}))
	}
	big := b.String()
	if r := curl("", "smtp://mail.test:25", "--upload-file", writeFile(t, big)); r.Code != 0 {
		t.Error(r)
	}
	m.took(t, big)
	before := m.counted("smtp_messages")
	// One that is too big: curl says so first, or does not know it before.
	tooBig := big + big[:limit/5]
	if r := curl("", "smtp://mail.test:25", "--upload-file", writeFile(t, tooBig)); r.Code == 0 || !strings.Contains(r.Err, "552") {
		t.Error(r)
	}
	if r := curl(tooBig, "smtp://mail.test:25", "--upload-file", "-"); r.Code == 0 {
		t.Error(r)
	}
	if n := m.counted("smtp_messages"); n != before || m.counted("smtp_refused") != 1 {
		t.Errorf("%d messages were taken, %d refused", n, m.counted("smtp_refused"))
	}
	// 67: the login was denied.
	if r := curl(letter, "smtp://mail.test:25", "--user", "ann:wrong", "--upload-file", "-"); r.Code != 67 {
		t.Error(r)
	}
	// 60: the certificate is for another name.
	if r := curl(letter, "smtp://other.test:25", "--upload-file", "-"); r.Code != 60 {
		t.Error(r)
	}
	hosttest.Eventually(t, "all are gone", func() bool { return m.Stats().Connections == 0 })
}

// base64Of is how a client writes a line of AUTH.
func base64Of(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// A line, and what its answer begins with, and so on. Those under TLS begin with an EHLO there.
var conversations = map[string]struct {
	tls   bool
	lines []string
}{
	"order": {false, []string{
		"MAIL FROM:<a@b>", "503 5.5.1 EHLO", "EHLO", "501", "HELO two words", "501", "helo me", "250 mail.test",
		"MAIL FROM:<a@b> SIZE=1", "555", "DATA", "503", "RCPT TO:<a@b>", "503",
		"mail from:<>", "250", "MAIL FROM:<a@b>", "503", "DATA", "503",
		"RCPT TO:<>", "501", "RCPT TO:<nobody>", "501", "RCPT TO:<a@b> NOTIFY=NEVER", "555", "RCPT <a@b>", "501",
		"RCPT TO:<a@b>", "250", "DATA now", "501", "RSET", "250", "DATA", "503",
		"NOOP whatever", "250", "VRFY ann", "252", "HELP", "214", "QUIT", "221"}},
	"words": {false, []string{
		"EXPN all", "502", "BDAT 10 LAST", "502", "GET / HTTP/1.1", "500", "", "500", "NOOP \x01", "500", "N\xc3\xb6\xc3\xb6P", "500",
		"toString", "500", "__proto__", "500", strings.Repeat("x", 998), "500 5.5.1", strings.Repeat("x", 999), "500 5.5.2 that line is too long",
		strings.Repeat("x", 50_000), "500 5.5.2 that line is too long", "NOOP", "250"}},
	"paths": {true, []string{
		"MAIL FROM:a@b", "501", "MAIL", "501", "MAIL FROM:<a@b>x", "501", "MAIL FROM:<a@b> SIZE=many", "501",
		"MAIL FROM:<a@b> SIZE=10485761", "552 5.3.4", "MAIL FROM:<a@b> SIZE=99999999999999999999", "552",
		"MAIL FROM:<a@b> BODY=BINARYMIME", "555", "MAIL FROM:<a@b> AUTH=<>", "555", "MAIL FROM:<a@b> SMTPUTF8", "555",
		"MAIL FROM:<a..b@c>", "501", "MAIL FROM:<a@-c>", "501", "MAIL FROM:<@a,@b:c@d> SIZE=5 BODY=8bitmime", "250", "RSET", "250",
		"MAIL FROM: <\"a b\\\"c\"@[192.0.2.1]>", "250", "RCPT TO:<Postmaster>", "250", "RCPT TO:<\"\"@b>", "501",
		"RCPT TO:<" + strings.Repeat("l", 65) + "@b>", "501"}},
	"plain":             {true, []string{"AUTH PLAIN " + base64Of("\x00ann\x00secret"), "235", "AUTH PLAIN", "503", "MAIL FROM:<a@b> AUTH=<>", "250"}},
	"plain, in two":     {true, []string{"auth plain", "334 ", base64Of("ann\x00ann\x00secret"), "235"}},
	"login":             {true, []string{"AUTH LOGIN", "334 VXNlcm5hbWU6", base64Of("ann"), "334 UGFzc3dvcmQ6", base64Of("secret"), "235"}},
	"login with a name": {true, []string{"AUTH login " + base64Of("ann"), "334 UGFzc3dvcmQ6", base64Of("secret"), "235"}},
	"wrong":             {true, []string{"AUTH PLAIN " + base64Of("\x00ann\x00Secret"), "535", "AUTH PLAIN " + base64Of("\x00ann\x00"), "535", "AUTH PLAIN " + base64Of("\x00\x00"), "421"}},
	"another's name":    {true, []string{"AUTH PLAIN " + base64Of("bob\x00ann\x00secret"), "535", "AUTH LOGIN " + base64Of("eve"), "334", "", "535"}},
	"no answer": {true, []string{
		"AUTH PLAIN " + base64Of("ann\x00secret"), "501", "AUTH PLAIN !!", "501", "AUTH LOGIN", "334", "!!", "501", "AUTH PLAIN =", "501",
		"AUTH PLAIN", "334 ", "*", "501 5.7.0", "AUTH", "504", "AUTH CRAM-MD5", "504", "AUTH PLAIN", "334", base64Of(strings.Repeat("x", 9000)), "501",
		"AUTH PLAIN", "334", strings.Repeat("A", 13000), "500", "NOOP", "250"}},
}

// Each line has its one answer.
func TestSMTPConversations(t *testing.T) {
	bothSinks(t, func(t *testing.T, plugin string) {
		m := serveMail(t, plugin, "")
		for name, talk := range conversations {
			c := net.Conn(hosttest.Dial(t, m.addr))
			lines := bufio.NewReader(c)
			hears(t, lines, "220 mail.test ESMTP")
			if talk.tls {
				hosttest.Say(t, c, "STARTTLS\r\n")
				hears(t, lines, "220 2.0.0 go ahead")
				c = tls.Client(c, &tls.Config{RootCAs: m.ca.Pool(), ServerName: "mail.test"})
				lines = bufio.NewReader(c)
				hosttest.Say(t, c, "EHLO x\r\n")
				hears(t, lines, "250 ENHANCEDSTATUSCODES")
			}
			for i := 0; i < len(talk.lines); i += 2 {
				hosttest.Say(t, c, talk.lines[i]+"\r\n")
				if got, err := lines.ReadString('\n'); err != nil || !strings.HasPrefix(got, talk.lines[i+1]) || !strings.HasSuffix(got, "\r\n") {
					t.Errorf("%s: %.80q is answered with %q, %v; want %q", name, talk.lines[i], got, err, talk.lines[i+1])
				}
			}
			_ = c.Close()
		}
	})
}
