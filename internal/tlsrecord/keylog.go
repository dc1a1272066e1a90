package tlsrecord

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"errors"
)

// The lines of a key log that the record layer is made from.
const (
	labelClient = "CLIENT_TRAFFIC_SECRET_0"
	labelServer = "SERVER_TRAFFIC_SECRET_0"
	labelMaster = "CLIENT_RANDOM"
)

// mostSecret is the longest secret: SHA-384's size, and that of a master secret.
const mostSecret = 48

// KeyLog keeps the secrets of one connection's handshake, which TakeOver needs. Its zero value is
// ready. Wipe it when they are not needed any more. It is one goroutine's at a time.
type KeyLog struct {
	client, server, master secret
}

// secret is one that is kept; n is 0 for none.
type secret struct {
	n int8
	b [mostSecret]byte
}

func (s *secret) bytes() []byte { return s.b[:s.n] }

var errKeyLog = errors.New("tlsrecord: a line of the key log is not understood")

// Write takes a line of the key log. Lines that are not needed are dropped.
func (l *KeyLog) Write(line []byte) (int, error) {
	fields := bytes.Fields(line)
	if len(fields) != 3 {
		return 0, errKeyLog
	}
	var to *secret
	switch string(fields[0]) {
	case labelClient:
		to = &l.client
	case labelServer:
		to = &l.server
	case labelMaster:
		to = &l.master
	default:
		return len(line), nil
	}
	n := hex.DecodedLen(len(fields[2]))
	if n > mostSecret {
		return 0, errKeyLog
	}
	if _, err := hex.Decode(to.b[:], fields[2]); err != nil {
		return 0, errKeyLog
	}
	to.n = int8(n)
	return len(line), nil
}

// Watch is a copy of a configuration, for one handshake, whose secrets l gets. A server gives it to
// crypto/tls by the original's GetConfigForClient, so that the keys of its tickets stay the
// original's. In TLS 1.2 the key log says nothing when a session is resumed: its tickets have the
// secret beside crypto/tls's own, unless the configuration wraps its sessions itself.
func (l *KeyLog) Watch(original *tls.Config) *tls.Config {
	config := original.Clone()
	config.KeyLogWriter = l
	if original.WrapSession != nil || original.UnwrapSession != nil {
		return config
	}
	config.WrapSession = func(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
		if state.Version == tls.VersionTLS12 && l.master.n > 0 {
			session.Extra = append(session.Extra, append([]byte(extraMaster), l.master.bytes()...))
		}
		return original.EncryptTicket(state, session)
	}
	config.UnwrapSession = func(ticket []byte, state tls.ConnectionState) (*tls.SessionState, error) {
		session, err := original.DecryptTicket(ticket, state)
		if session != nil && state.Version == tls.VersionTLS12 {
			for _, extra := range session.Extra {
				if b, ok := bytes.CutPrefix(extra, []byte(extraMaster)); ok && len(b) <= mostSecret {
					l.master.n = int8(copy(l.master.b[:], b))
				}
			}
		}
		return session, err
	}
	return config
}

// extraMaster begins what a ticket has of a master secret.
const extraMaster = "bulkhead master secret 1:"

// Wipe forgets the secrets.
func (l *KeyLog) Wipe() { *l = KeyLog{} }
