// Package recordtest makes the records of TLS 1.3 by hand, for tests of peers that crypto/tls would
// not be.
package recordtest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net"
	"strings"
)

// The kinds of records.
const (
	Alert       = 21
	Handshake   = 22
	Application = 23
)

// ErrSuite says that the two sides have agreed to a cipher that a Forger does not know.
var ErrSuite = errors.New("recordtest: the cipher is none that records can be made for")

// Forger is a client that writes records of its own making, with the keys that a handshake has
// left. It is one goroutine's at a time. It reads nothing; whoever reads from Conn gets
// ciphertext.
type Forger struct {
	net.Conn
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

// Forge makes the handshake of a client on a connection. The version and the key log of the
// configuration, which is copied, are its own.
func Forge(conn net.Conn, config *tls.Config) (*Forger, error) {
	var log strings.Builder
	config = config.Clone()
	config.MinVersion, config.KeyLogWriter = tls.VersionTLS13, &log
	c := tls.Client(conn, config)
	if err := c.Handshake(); err != nil {
		return nil, err
	}
	if c.ConnectionState().CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
		return nil, ErrSuite
	}
	for line := range strings.Lines(log.String()) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "CLIENT_TRAFFIC_SECRET_0" {
			secret, err := hex.DecodeString(f[2])
			if err != nil {
				return nil, err
			}
			g := &Forger{Conn: conn}
			g.use(secret)
			return g, nil
		}
	}
	return nil, errors.New("recordtest: the key log has no secret of the client's")
}

// use derives the keys of a secret (RFC 8446, 7.3).
func (g *Forger) use(secret []byte) {
	block, err := aes.NewCipher(expand(secret, "key", 16))
	if err == nil {
		g.aead, err = cipher.NewGCM(block)
	}
	if err != nil {
		panic(err) // 16 bytes are a key
	}
	g.secret, g.iv, g.seq = secret, expand(secret, "iv", 12), 0
}

func expand(secret []byte, label string, n int) []byte {
	label = "tls13 " + label
	info := string([]byte{byte(n >> 8), byte(n), byte(len(label))}) + label + "\x00"
	key, err := hkdf.Expand(sha256.New, secret, info, n)
	if err != nil {
		panic(err) // n is not too large
	}
	return key
}

// Record seals some bytes of a kind, as the next record.
func (g *Forger) Record(kind byte, p []byte) []byte {
	n := len(p) + 1 + g.aead.Overhead()
	head := []byte{23, 3, 3, byte(n >> 8), byte(n)}
	nonce := append([]byte(nil), g.iv...)
	binary.BigEndian.PutUint64(nonce[4:], binary.BigEndian.Uint64(nonce[4:])^g.seq)
	g.seq++
	return g.aead.Seal(head, nonce, append(append([]byte(nil), p...), kind), head)
}

// NewKeys asks for new keys of the other side, and takes new ones itself.
func (g *Forger) NewKeys() []byte {
	r := g.Record(Handshake, []byte{24, 0, 0, 1, 1})
	g.TakeNewKeys()
	return r
}

// TakeNewKeys uses the next keys from now on: the other side has been told, or will not
// understand.
func (g *Forger) TakeNewKeys() { g.use(expand(g.secret, "traffic upd", sha256.Size)) }
