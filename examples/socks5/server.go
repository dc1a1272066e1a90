package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"

	"bulkhead/sdk/go"
)

// hurryUp is how long a client may take to say what it wants; its timer's token is 1.
const hurryUp = 10 * guest.Second

// server is the handler.
type server struct {
	guest.Base
	users map[string]string
}

// session is one client, and the connection that was made for it. Both have it as
// their Value.
type session struct {
	client   *guest.Conn
	upstream *guest.Conn // nil until it is dialled
	step     step
}

type step byte

const (
	greets   step = iota // the client says how it can show who it is
	logsIn               // and who it is
	asks                 // and what it wants
	dialling             // the upstream is not up yet
	joining              // it is, and the reply is on its way to the client
	over
)

// Start reads the config.
func (v *server) Start(config []byte) error {
	var c struct {
		Users map[string]string `json:"users"`
	}
	d := json.NewDecoder(bytes.NewReader(config))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return errors.New("config: " + err.Error())
	}
	for user, password := range c.Users {
		if user == "" || len(user) > 255 || password == "" || len(password) > 255 {
			return errors.New("config: users: " + user + ": a name and a password have 1 to 255 bytes each")
		}
	}
	v.users = c.Users
	return nil
}

// Open is a new client, or that the upstream of one is up.
func (v *server) Open(c *guest.Conn) error {
	if !c.Dialled() {
		c.Value = &session{client: c}
		return c.SetTimer(1, hurryUp)
	}
	s := c.Value.(*session)
	s.step = joining
	if _, err := s.client.Write(reply(succeeded, c.Local())); err != nil {
		return err
	}
	return s.join()
}

// Data takes one message after the other, until it is clear what is wanted. What
// comes after that is left to be relayed, on either side.
func (v *server) Data(c *guest.Conn, p []byte) (used int, err error) {
	s := c.Value.(*session)
	for s.step < dialling {
		n, err := v.hear(s, p[used:])
		if n == 0 || err != nil {
			return used, err
		}
		used += n
	}
	return used, nil
}

// hear takes one message from the client, and returns its length; 0 when it is not
// all there.
func (v *server) hear(s *session, p []byte) (n int, err error) {
	switch s.step {
	case greets:
		var methods []byte
		if methods, n, err = parseGreeting(p); n > 0 {
			v.choose(s, methods)
		}
	case logsIn:
		var user, password []byte
		if user, password, n, err = parseLogin(p); n > 0 {
			v.logIn(s, string(user), string(password))
		}
	case asks:
		var r request
		var answer rep
		r, n, answer, err = parseRequest(p)
		switch {
		case answer != succeeded:
			s.refuse(answer)
		case n > 0:
			s.dial(&r)
		}
	}
	if err != nil {
		return 0, guest.Invalid
	}
	return n, nil
}

func (v *server) choose(s *session, methods []byte) {
	method, next := byte(noAuth), asks
	if len(v.users) > 0 {
		method, next = withPassword, logsIn
	}
	if !bytes.Contains(methods, []byte{method}) {
		s.end([]byte{version, noneOfThem})
		return
	}
	s.step = next
	_, _ = s.client.Write([]byte{version, method})
}

func (v *server) logIn(s *session, user, password string) {
	want, known := v.users[user]
	// Neither the time it takes nor the answer says which of the two was wrong.
	a, b := sha256.Sum256([]byte(password)), sha256.Sum256([]byte(want))
	if same := subtle.ConstantTimeCompare(a[:], b[:]) == 1; !same || !known {
		_ = guest.Count("socks5_bad_logins", 1)
		s.end([]byte{loginVersion, 1})
		return
	}
	s.step = asks
	_, _ = s.client.Write([]byte{loginVersion, 0})
}

func (s *session) dial(r *request) {
	if r.command != connect {
		s.refuse(commandUnknown)
		return
	}
	up, err := guest.Connect(r.target())
	if err != nil {
		s.refuse(repOf(err))
		return
	}
	s.step, s.upstream, up.Value = dialling, up, s
	_ = s.client.StopTimer(1)
	_ = s.client.Pause() // the rest is for the upstream
}

// join has the host relay. When the client has not taken its reply yet, that is
// for Writable to do.
func (s *session) join() error {
	err := guest.Splice(s.client, s.upstream)
	if errors.Is(err, guest.Again) {
		return s.upstream.Pause()
	}
	if err == nil {
		_ = guest.Count("socks5_connected", 1)
	}
	return err
}

// Writable comes when the client has taken its reply.
func (v *server) Writable(c *guest.Conn) {
	if s := c.Value.(*session); s.step == joining && s.join() != nil {
		_ = s.upstream.Abort() // Closed does the rest
	}
}

// refuse tells the client why not.
func (s *session) refuse(answer rep) {
	_ = guest.Count("socks5_refused", 1)
	s.end(reply(answer, ""))
}

// end says a last thing to the client.
func (s *session) end(last []byte) {
	s.step = over
	_, _ = s.client.Write(last)
	_ = s.client.Close()
}

// Closed is the end of one of the two, and so of the other. After a splice it does
// not come.
func (v *server) Closed(c *guest.Conn, reason error) {
	s := c.Value.(*session)
	switch {
	case !c.Dialled():
		if s.upstream != nil {
			_ = s.upstream.Abort()
		}
	case s.step == dialling:
		s.refuse(repOf(reason))
	default:
		_ = s.client.Close()
	}
}

// Timer is the end of a client's time.
func (v *server) Timer(c *guest.Conn, _ int32) { _ = c.Close() }
