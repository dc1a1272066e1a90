package tlsrecord

import (
	"crypto/fips140"
	"crypto/tls"
	"encoding/binary"
	"errors"
)

// ErrNot says that a connection is none that can be taken over: it stays crypto/tls's, which alone
// knows its version or suite, or is validated where GODEBUG has fips140.
var ErrNot = errors.New("tlsrecord: the connection has a version or a cipher suite that is crypto/tls's alone, or FIPS 140 holds")

var (
	errTranscript = errors.New("tlsrecord: what was sent in the handshake is not understood")
	errNoSecrets  = errors.New("tlsrecord: the key log has no secrets of the connection")
)

// TakeOver makes the record layer of a connection whose handshake crypto/tls has just made, and
// which it has neither read from nor written to since. client says which side this is. log has
// watched it. sent and received are all bytes that it has written and read; the last byte received
// has to be the last of a record, so that crypto/tls holds nothing.
//
// It returns ErrNot, or another error if something does not fit together; then crypto/tls may go
// on. It changes none of what it is given, and keeps none of it.
func TakeOver(state tls.ConnectionState, client bool, log *KeyLog, sent, received []byte) (*Conn, error) {
	s := suites[state.CipherSuite]
	if fips140.Enabled() || s == nil || state.Version != tls.VersionTLS13 && state.Version != tls.VersionTLS12 || !state.HandshakeComplete {
		return nil, ErrNot
	}
	c := &Conn{suite: s, version: state.Version, client: client}
	var err error
	if c.version == tls.VersionTLS13 {
		err = c.take13(log)
	} else {
		err = c.take12(log, sent, received)
	}
	if err == nil {
		err = c.out.count(c, sent)
	}
	if err == nil && c.version == tls.VersionTLS12 {
		err = c.in.count(c, received) // TLS 1.3's peer has sealed nothing yet
	}
	if err != nil {
		c.Wipe()
		return nil, err
	}
	return c, nil
}

// take13 has the traffic secrets.
func (c *Conn) take13(log *KeyLog) error {
	own, peers := &log.server, &log.client
	if c.client {
		own, peers = peers, own
	}
	if n := c.suite.hash().Size(); int(own.n) != n || int(peers.n) != n {
		return errNoSecrets
	}
	c.in.secret, c.out.secret = *peers, *own
	return nil
}

// take12 derives the keys from the master secret and the randoms.
func (c *Conn) take12(log *KeyLog, sent, received []byte) error {
	if log.master.n == 0 {
		return errNoSecrets
	}
	client, server := received, sent
	if c.client {
		client, server = server, client
	}
	clientRandom, serverRandom := helloRandom(client, 1), helloRandom(server, 2)
	if clientRandom == nil || serverRandom == nil {
		return errTranscript
	}
	key, iv := int(c.suite.key), int(c.suite.iv)
	block := keyBlock(c.suite, log.master.bytes(), serverRandom, clientRandom, 2*(key+iv))
	clients, servers := &c.in, &c.out
	if c.client {
		clients, servers = servers, clients
	}
	for i, h := range []*half{clients, servers} {
		h.secret.n = int8(copy(h.secret.b[:], block[i*key:][:key]))
		copy(h.iv[:], block[2*key+i*iv:][:iv])
	}
	clear(block)
	return nil
}

// count sets the number of a direction's next record, from all that has gone in it. The records
// that its keys have sealed are the last: with TLS 1.3 a server's tickets, or none; with TLS 1.2
// Finished, which follows a change of cipher, and shows that the keys are right.
func (h *half) count(c *Conn, b []byte) error {
	trial := &Conn{suite: c.suite, version: c.version}
	trial.in.secret, trial.in.iv = h.secret, h.iv
	defer trial.Wipe()
	changed := c.version == tls.VersionTLS13
	var scratch []byte
	for len(b) > 0 {
		record, rest := next(b)
		if record == nil {
			return errTranscript
		}
		b = rest
		if record[0] == typeChangeCipherSpec {
			changed = true
			continue
		}
		if !changed || c.version == tls.VersionTLS13 && record[0] != typeData {
			continue
		}
		scratch = append(scratch[:0], record...) // it is decrypted in place
		if _, _, err := trial.unseal(nil, scratch); err == nil {
			trial.in.seq++
		} else if trial.failed = false; trial.in.seq > 0 || c.version != tls.VersionTLS13 {
			return errTranscript
		}
	}
	clear(scratch)
	if c.version != tls.VersionTLS13 && trial.in.seq == 0 {
		return errTranscript
	}
	h.seq = trial.in.seq
	return nil
}

// next is the first record of b, and what follows it; nil when there is none that is whole.
func next(b []byte) (record, rest []byte) {
	if len(b) < Header {
		return nil, nil
	}
	n := Header + int(binary.BigEndian.Uint16(b[3:]))
	if len(b) < n {
		return nil, nil
	}
	return b[:n], b[n:]
}

// helloRandom is the random of the hello that a side's bytes begin with; the kind of its message is
// the client's or the server's. It is nil when that is not to be seen.
func helloRandom(b []byte, kind byte) []byte {
	const at = Header + messageHeader + 2 // behind the version
	record, _ := next(b)
	if len(record) < at+32 || record[0] != typeHandshake || record[Header] != kind {
		return nil
	}
	return record[at:][:32]
}
