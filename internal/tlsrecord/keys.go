package tlsrecord

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"
)

// suite is a cipher suite whose records can be made and opened here.
type suite struct {
	hash     func() hash.Hash
	key      int8 // its length
	iv       int8 // the length of what a key block has of the nonce
	explicit int8 // the length of the rest, which stands in each record
	aead     func(key []byte) (cipher.AEAD, error)
	// most is how many records one key may seal (RFC 8446, 5.5).
	most uint64
}

const (
	ivLength = 12
	// mostGCM is 2^24.5 records.
	mostGCM = 23_726_566
	// mostSequence is the last number of a record: it never comes round.
	mostSequence = 1<<64 - 1
)

func gcm(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

var (
	aes128      = suite{hash: sha256.New, key: 16, iv: 12, aead: gcm, most: mostGCM}
	aes256      = suite{hash: sha512.New384, key: 32, iv: 12, aead: gcm, most: mostGCM}
	chacha      = suite{hash: sha256.New, key: chacha20poly1305.KeySize, iv: 12, aead: chacha20poly1305.New, most: mostSequence}
	aes128Older = suite{hash: sha256.New, key: 16, iv: 4, explicit: 8, aead: gcm, most: mostSequence}
	aes256Older = suite{hash: sha512.New384, key: 32, iv: 4, explicit: 8, aead: gcm, most: mostSequence}
)

// suites are those of TLS 1.3, and those of TLS 1.2 with an AEAD.
var suites = map[uint16]*suite{
	tls.TLS_AES_128_GCM_SHA256:       &aes128,
	tls.TLS_AES_256_GCM_SHA384:       &aes256,
	tls.TLS_CHACHA20_POLY1305_SHA256: &chacha,

	tls.TLS_RSA_WITH_AES_128_GCM_SHA256:               &aes128Older,
	tls.TLS_RSA_WITH_AES_256_GCM_SHA384:               &aes256Older,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:         &aes128Older,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384:         &aes256Older,
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256:       &aes128Older,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384:       &aes256Older,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256:   &chacha,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: &chacha,
}

// half is one direction of a connection. What is of TLS 1.3 alone is empty with TLS 1.2.
type half struct {
	// secret is the traffic secret, or TLS 1.2's key.
	secret secret
	iv     [ivLength]byte
	seq    uint64
	aead   cipher.AEAD // nil: made when it is needed
	nonce  [ivLength]byte
	extra  [13]byte
}

// wake makes the cipher of the secret, if there is none.
func (h *half) wake(s *suite, version uint16) {
	if h.aead != nil {
		return
	}
	key := h.secret.bytes()
	if version == tls.VersionTLS13 {
		key = expandLabel(s, key, "key", int(s.key))
		copy(h.iv[:], expandLabel(s, h.secret.bytes(), "iv", ivLength))
	}
	aead, err := s.aead(key)
	if err != nil {
		panic(err) // the table has the length of each key
	}
	if version == tls.VersionTLS13 {
		clear(key)
	}
	h.aead = aead
}

// next goes over to the next traffic secret of TLS 1.3 (RFC 8446, 7.2).
func (h *half) next(s *suite) {
	next := expandLabel(s, h.secret.bytes(), "traffic upd", int(h.secret.n))
	copy(h.secret.b[:], next)
	clear(next)
	h.aead, h.seq = nil, 0
}

// number sets the nonce of the next record from its number.
func (h *half) number(explicit []byte) {
	h.nonce = h.iv
	if len(explicit) > 0 {
		copy(h.nonce[ivLength-len(explicit):], explicit)
		return
	}
	tail := h.nonce[ivLength-8:]
	binary.BigEndian.PutUint64(tail, binary.BigEndian.Uint64(tail)^h.seq)
}

// additional is what TLS 1.2 authenticates beside a record of n bytes.
func (h *half) additional(head []byte, n int) []byte {
	binary.BigEndian.PutUint64(h.extra[:], h.seq)
	copy(h.extra[8:], head[:3])
	binary.BigEndian.PutUint16(h.extra[11:], uint16(n))
	return h.extra[:]
}

// expandLabel is HKDF-Expand-Label without a context (RFC 8446, 7.1).
func expandLabel(s *suite, secret []byte, label string, n int) []byte {
	label = "tls13 " + label
	info := string([]byte{byte(n >> 8), byte(n), byte(len(label))}) + label + "\x00"
	b, err := hkdf.Expand(s.hash, secret, info, n)
	if err != nil {
		panic(err) // n is a few hash sizes at most
	}
	return b
}

// keyBlock is TLS 1.2's (RFC 5246, 6.3): the first n bytes of PRF(master, "key expansion", the
// server's random and the client's).
func keyBlock(s *suite, master, server, client []byte, n int) []byte {
	seed := append([]byte("key expansion"), server...)
	seed = append(seed, client...)
	mac := hmac.New(s.hash, master)
	sum := func(parts ...[]byte) []byte {
		mac.Reset()
		for _, p := range parts {
			mac.Write(p)
		}
		return mac.Sum(nil)
	}
	var block []byte
	for a := sum(seed); len(block) < n; a = sum(a) {
		block = append(block, sum(a, seed)...)
	}
	clear(block[n:])
	return block[:n]
}
