package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"

	"bulkhead/sdk/go"
)

// asked is what the next line answers, in the middle of AUTH.
type asked byte

const (
	nothing  asked = iota
	plain          // PLAIN's one message (RFC 4616)
	userName       // LOGIN's two
	password
)

// maxBadLogins is how many wrong passwords a connection may try.
const maxBadLogins = 3

func (v *server) auth(c *guest.Conn, s *session, argument string) {
	mechanism, first, given := strings.Cut(argument, " ")
	switch {
	case len(v.config.Users) == 0:
		s.reply(c, "502 5.5.1 there is nobody to log in")
	case !s.secured:
		s.reply(c, "538 5.7.11 encryption is required; use STARTTLS")
	case !s.extended, s.user != "", s.mail:
		s.reply(c, "503 5.5.1 not now")
	case strings.EqualFold(mechanism, "PLAIN"):
		s.asked = plain
		if !given {
			s.reply(c, "334 ")
		}
	case strings.EqualFold(mechanism, "LOGIN"):
		s.asked = userName
		if !given {
			s.reply(c, "334 VXNlcm5hbWU6") // "Username:"
		}
	default:
		s.reply(c, "504 5.5.4 there is PLAIN and LOGIN")
	}
	if s.asked == nothing || !given {
		return
	}
	if first == "=" {
		first = "" // an empty answer, and not none
	}
	v.answer(c, s, []byte(first))
}

// answer takes a line in the middle of AUTH.
func (v *server) answer(c *guest.Conn, s *session, line []byte) {
	was := s.asked
	s.asked = nothing
	if string(line) == "*" {
		s.reply(c, "501 5.7.0 as you wish")
		return
	}
	text, err := base64.StdEncoding.DecodeString(string(line))
	if err != nil {
		s.reply(c, "501 5.5.2 that is not base64")
		return
	}
	switch was {
	case plain:
		as, rest, ok1 := strings.Cut(string(text), "\x00")
		user, pass, ok2 := strings.Cut(rest, "\x00")
		if !ok1 || !ok2 {
			s.reply(c, "501 5.5.2 PLAIN wants a name to act as, a name and a password")
			return
		}
		v.logIn(c, s, user, pass, as == "" || as == user)
	case userName:
		s.login = string(text[:min(len(text), 256)])
		s.asked = password
		s.reply(c, "334 UGFzc3dvcmQ6") // "Password:"
	case password:
		v.logIn(c, s, s.login, string(text), true)
	}
}

func (v *server) logIn(c *guest.Conn, s *session, user, pass string, allowed bool) {
	want, known := v.config.Users[user]
	// Neither the time it takes nor the answer says which of the two was wrong.
	a, b := sha256.Sum256([]byte(pass)), sha256.Sum256([]byte(want))
	s.login = ""
	if same := subtle.ConstantTimeCompare(a[:], b[:]) == 1; same && known && allowed {
		s.user = user
		s.reply(c, "235 2.7.0 welcome")
		return
	}
	_ = guest.Count("smtp_bad_logins", 1)
	if s.badLogins++; s.badLogins == maxBadLogins {
		s.end(c, "421 4.7.0 too many wrong passwords")
		return
	}
	s.reply(c, "535 5.7.8 wrong name or password")
}
