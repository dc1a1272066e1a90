package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"bulkhead/sdk/go"
)

// The bounds. A session costs its recipients, and nothing of its messages.
const (
	maxCommand    = 1000     // bytes of a line; RFC 5321 has 512, to which extensions add
	maxAuthLine   = 12288    // in the middle of AUTH (RFC 4954, section 4)
	maxRecipients = 100      // the least that RFC 5321 allows
	maxErrors     = 20       // commands that are refused, in one connection
	defaultSize   = 10 << 20 // of a message
	window        = 16 << 10 // holds the longest line
	maxLogged     = 700      // bytes of a line in the log, about; the rest are counted
	// idle is how long a client may say nothing. RFC 5321 asks for five minutes, which is when
	// the host would close it without a word (idle_timeout).
	idle      = 290 * guest.Second
	idleTimer = int32(1)
)

// server is the handler.
type server struct {
	guest.Base
	config struct {
		Hostname    string            `json:"hostname"`
		MaxSize     int64             `json:"max_size"`
		Users       map[string]string `json:"users"`
		RequireAuth bool              `json:"require_auth"`
		StartTLS    bool              `json:"starttls"`
	}
	open     map[*guest.Conn]struct{}
	stopping bool
}

// session is one connection, its Value.
type session struct {
	secured bool
	known
	errors, badLogins int

	tls      upgrade
	skipping bool // the rest of a line that is too long
	over     bool // the last thing was said
}

// known is what the client has said. None of it holds after STARTTLS (RFC 3207,
// section 4.2).
type known struct {
	greeted  bool
	extended bool   // with EHLO
	user     string // who has logged in
	login    string // who is about to
	asked    asked
	mail     bool // MAIL was accepted
	from     string
	to       []string
	body     *body // nil: commands come
}

// upgrade is how far STARTTLS is.
type upgrade byte

const (
	notAsked upgrade = iota
	promised         // 220 was said, and is not with the host yet
	begun
)

// Start reads the config.
func (v *server) Start(config []byte) error {
	guest.SetWindow(window)
	c := &v.config
	c.Hostname, c.MaxSize, c.StartTLS = "localhost", defaultSize, true
	d := json.NewDecoder(bytes.NewReader(config))
	d.DisallowUnknownFields()
	if err := d.Decode(c); err != nil {
		return errors.New("config: " + err.Error())
	}
	switch {
	case domain(c.Hostname) != len(c.Hostname) || c.Hostname == "":
		return errors.New("config: hostname = " + strconv.Quote(c.Hostname) + ` is no host name; write it as "mail.example.com"`)
	case c.MaxSize <= 0:
		return errors.New("config: max_size is a number of bytes above 0")
	case c.RequireAuth && len(c.Users) == 0:
		return errors.New(`config: require_auth needs somebody who can log in; add users = { ann = "secret" }`)
	}
	for user, pass := range c.Users {
		if user == "" || pass == "" {
			return errors.New("config: users: " + user + ": a user has a name and a password")
		}
	}
	return nil
}

// Open greets.
func (v *server) Open(c *guest.Conn) error {
	s := &session{secured: c.TLSVersion() != ""}
	c.Value = s
	if v.open == nil {
		v.open = make(map[*guest.Conn]struct{})
	}
	v.open[c] = struct{}{}
	if err := c.SetTimer(idleTimer, idle); err != nil {
		return err
	}
	s.reply(c, "220 "+v.config.Hostname+" ESMTP")
	return nil
}

// Data takes whole lines, and messages as they come. The beginning of a line stays with
// the host until its end has come; so does everything as long as the client does not
// read its answers.
func (v *server) Data(c *guest.Conn, p []byte) (used int, err error) {
	s := c.Value.(*session)
	if err := c.SetTimer(idleTimer, idle); err != nil {
		return 0, err
	}
	for used < len(p) && s.tls == notAsked && !s.over && c.Queued() == 0 {
		rest := p[used:]
		if s.body != nil {
			n, done := s.body.take(rest)
			used += n
			if done {
				v.accept(c, s)
				if v.stopping {
					s.sendAway(c)
				}
			}
			continue
		}
		end := bytes.IndexByte(rest, '\n')
		if s.skipping || end >= s.maxLine() || end < 0 && len(rest) >= s.maxLine() {
			if !s.skipping {
				s.asked = nothing
				s.reply(c, "500 5.5.2 that line is too long")
			}
			if s.skipping = end < 0; s.skipping {
				return len(p), nil
			}
			used += end + 1
			continue
		}
		if end < 0 {
			break
		}
		used += end + 1
		v.line(c, s, rest[:end])
	}
	return used, nil
}

// Timer is the end of a client's time.
func (v *server) Timer(c *guest.Conn, _ int32) {
	if s := c.Value.(*session); !s.over && s.tls == notAsked {
		s.end(c, "421 4.4.2 nothing was said for too long")
	}
}

// Stop sends everybody away but those in the middle of a message, which may come to its end.
func (v *server) Stop() {
	v.stopping = true
	for c := range v.open {
		if s := c.Value.(*session); s.body == nil {
			s.sendAway(c)
		}
	}
}

// sendAway says that the server stops; in the middle of a handshake there is no way to.
func (s *session) sendAway(c *guest.Conn) {
	switch {
	case s.over:
	case s.tls != notAsked:
		_ = c.Abort()
	default:
		s.end(c, "421 4.3.2 the server stops; try again later")
	}
}

// Closed forgets the client.
func (v *server) Closed(c *guest.Conn, _ error) { delete(v.open, c) }

// maxLine is how long the next line may be, with its end.
func (s *session) maxLine() int {
	if s.asked != nothing {
		return maxAuthLine
	}
	return maxCommand
}

func (v *server) line(c *guest.Conn, s *session, line []byte) {
	line, ok := bytes.CutSuffix(line, []byte("\r"))
	if !ok {
		s.asked = nothing
		s.reply(c, "500 5.5.2 lines end in CR LF")
		return
	}
	if s.asked != nothing {
		v.answer(c, s, line)
		return
	}
	verb, argument, ok := parseCommand(line)
	if !ok {
		s.reply(c, "500 5.5.2 commands are printable ASCII")
		return
	}
	v.command(c, s, verb, argument)
}

func (v *server) command(c *guest.Conn, s *session, verb, argument string) {
	switch verb {
	case "EHLO", "HELO":
		v.hello(c, s, verb, argument)
	case "STARTTLS":
		v.startTLS(c, s, argument)
	case "AUTH":
		v.auth(c, s, argument)
	case "MAIL":
		v.mailFrom(c, s, argument)
	case "RCPT":
		s.rcptTo(c, argument)
	case "DATA":
		switch {
		case argument != "":
			s.reply(c, "501 5.5.4 DATA stands alone")
		case len(s.to) == 0:
			s.reply(c, "503 5.5.1 RCPT first")
		default:
			s.body = newBody(v.config.MaxSize)
			s.reply(c, "354 go on, and end with a dot")
		}
	case "RSET":
		s.reset()
		s.reply(c, "250 2.0.0 forgotten")
	case "NOOP":
		s.reply(c, "250 2.0.0 nothing done")
	case "VRFY":
		s.reply(c, "252 2.5.0 send it, and see")
	case "HELP":
		s.reply(c, "214 2.0.0 see RFC 5321")
	case "QUIT":
		s.end(c, "221 2.0.0 good-bye")
	case "EXPN", "TURN", "ETRN", "BDAT":
		s.reply(c, "502 5.5.1 that is not done here")
	default:
		s.reply(c, "500 5.5.1 that is no command")
	}
}

func (v *server) hello(c *guest.Conn, s *session, verb, name string) {
	if name == "" || strings.Contains(name, " ") {
		s.reply(c, "501 5.5.4 "+verb+" wants a name")
		return
	}
	s.reset()
	s.greeted, s.extended = true, verb == "EHLO"
	if !s.extended {
		s.reply(c, "250 "+v.config.Hostname)
		return
	}
	lines := []string{v.config.Hostname, "PIPELINING", "8BITMIME", "SIZE " + strconv.FormatInt(v.config.MaxSize, 10)}
	if !s.secured && v.offersTLS(c) {
		lines = append(lines, "STARTTLS")
	}
	if s.secured && len(v.config.Users) > 0 {
		lines = append(lines, "AUTH PLAIN LOGIN")
	}
	s.reply(c, "250-"+strings.Join(lines, "\r\n250-")+"\r\n250 ENHANCEDSTATUSCODES")
}

// offersTLS reports whether STARTTLS can be had. A client that is offered what then fails
// would take the mail elsewhere, or not try again.
func (v *server) offersTLS(c *guest.Conn) bool { return v.config.StartTLS && c.HasCertificate() }

func (v *server) startTLS(c *guest.Conn, s *session, argument string) {
	switch {
	case argument != "":
		s.reply(c, "501 5.5.4 STARTTLS stands alone")
	case s.secured:
		s.reply(c, "503 5.5.1 this is TLS already")
	case !v.offersTLS(c):
		s.reply(c, "502 5.5.1 there is no TLS here")
	default:
		s.reply(c, "220 2.0.0 go ahead")
		s.tls = promised
		s.upgrade(c)
	}
}

// upgrade begins the handshake, once the promise of it is with the host. Whoever calls
// it is done with the connection for now: what the client has sent behind STARTTLS must
// not count as said under TLS, and the host closes the connection for it.
func (s *session) upgrade(c *guest.Conn) {
	switch err := c.MakeSSL(guest.TLSServer, ""); {
	case err == nil:
		s.tls = begun
	case errors.Is(err, guest.Again): // Writable comes
	default:
		_ = c.Abort()
	}
}

// Writable comes when the client has taken its answers.
func (v *server) Writable(c *guest.Conn) {
	if s := c.Value.(*session); s.tls == promised {
		s.upgrade(c)
	}
}

// Secured begins anew.
func (v *server) Secured(c *guest.Conn, err error) {
	s := c.Value.(*session)
	s.tls, s.known = notAsked, known{}
	if s.secured = err == nil; s.secured {
		_ = guest.Count("smtp_secured", 1)
	}
}

func (v *server) mailFrom(c *guest.Conn, s *session, argument string) {
	switch {
	case !s.greeted:
		s.reply(c, "503 5.5.1 EHLO first")
		return
	case s.mail:
		s.reply(c, "503 5.5.1 one sender is enough")
		return
	case v.config.RequireAuth && s.user == "":
		s.reply(c, "530 5.7.0 log in first")
		return
	}
	path, ok := cutWord(argument, "FROM:")
	from, parameters, ok2 := parsePath(path)
	if !ok || !ok2 {
		s.reply(c, "501 5.1.7 it is MAIL FROM:<name@domain>")
		return
	}
	for _, p := range parameters {
		if fault := v.refuses(s, p); fault != "" {
			s.reply(c, fault)
			return
		}
	}
	s.mail, s.from = true, from
	s.reply(c, "250 2.1.0 sender ok")
}

// refuses is the reply to a parameter of MAIL that is not accepted, or "".
func (v *server) refuses(s *session, parameter string) string {
	key, value, _ := strings.Cut(parameter, "=")
	switch key = strings.ToUpper(key); {
	case !s.extended:
	case key == "SIZE":
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return "501 5.5.4 SIZE is a number"
		}
		if err != nil || int64(n) > v.config.MaxSize {
			return tooBig
		}
		return ""
	case key == "BODY" && (strings.EqualFold(value, "7BIT") || strings.EqualFold(value, "8BITMIME")):
		return ""
	case key == "AUTH" && s.user != "" && value != "":
		return "" // whom it came from does not matter to a sink
	}
	return "555 5.5.4 " + key + " is no parameter that is known here"
}

func (s *session) rcptTo(c *guest.Conn, argument string) {
	path, ok := cutWord(argument, "TO:")
	to, parameters, ok2 := parsePath(path)
	switch {
	case !s.mail:
		s.reply(c, "503 5.5.1 MAIL first")
	case !ok || !ok2 || to == "":
		s.reply(c, "501 5.1.3 it is RCPT TO:<name@domain>")
	case len(parameters) > 0:
		s.reply(c, "555 5.5.4 RCPT has no parameters here")
	case len(s.to) == maxRecipients:
		s.reply(c, "452 4.5.3 too many recipients")
	default:
		s.to = append(s.to, to)
		s.reply(c, "250 2.1.5 recipient ok")
	}
}

// cutWord takes a word off the front, in capitals or not, and blanks behind it, which
// many clients send.
func cutWord(s, word string) (rest string, ok bool) {
	if len(s) < len(word) || !strings.EqualFold(s[:len(word)], word) {
		return "", false
	}
	return strings.TrimLeft(s[len(word):], " "), true
}

// accept ends a message.
func (v *server) accept(c *guest.Conn, s *session) {
	b := s.body
	if b.fault != noFault {
		_ = guest.Count("smtp_refused", 1)
		s.reset()
		s.reply(c, b.fault)
		return
	}
	_ = guest.Count("smtp_messages", 1)
	_ = guest.Count("smtp_bytes", b.size)
	sum := hex.EncodeToString(b.sum.Sum(nil))
	text := "message from=<" + s.from + "> bytes=" + strconv.FormatInt(b.size, 10) + " sha256=" + sum + " to="
	for i, to := range s.to {
		if len(text) > maxLogged {
			text += " and " + strconv.Itoa(len(s.to)-i) + " more"
			break
		}
		if i > 0 {
			text += ","
		}
		text += "<" + to + ">"
	}
	guest.Log(guest.LogInfo, text)
	s.reset()
	s.reply(c, "250 2.6.0 taken, and gone: "+sum[:16])
}

// reset forgets the message that is being sent.
func (s *session) reset() { s.mail, s.from, s.to, s.body = false, "", nil, nil }

// reply sends a line. What is too much for a client that does not read waits for it, and
// so does the next command.
func (s *session) reply(c *guest.Conn, text string) {
	_, _ = c.WriteString(text + "\r\n")
	if text[0] == '5' {
		if s.errors++; s.errors == maxErrors {
			s.end(c, "421 4.7.0 too many errors")
		}
	}
}

// end says a last thing.
func (s *session) end(c *guest.Conn, text string) {
	s.over = true
	_, _ = c.WriteString(text + "\r\n")
	_ = c.Close()
}
