package guard

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
)

// Token is what proves that who asks may change something. It has a digest alone, so that it cannot
// be printed. The zero value is nobody's.
type Token struct {
	digest [sha256.Size]byte
	given  bool
}

// How many bytes a token may have: with fewer, it could be guessed.
const (
	LeastToken = 32
	MostToken  = 512
)

// NewToken makes one that nobody can guess, and gives its text.
func NewToken() (string, Token) {
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // it does not fail
	text := hex.EncodeToString(secret[:])
	return text, Token{sha256.Sum256([]byte(text)), true}
}

// ParseToken takes a text as a token: LeastToken to MostToken bytes of letters, digits and -._~+/=,
// as the header Authorization can have it. The error does not have it in it.
func ParseToken(text string) (Token, error) {
	if len(text) < LeastToken || len(text) > MostToken {
		return Token{}, fmt.Errorf("the token has %d characters, and needs %d to %d; make one by: openssl rand -hex 32", len(text), LeastToken, MostToken)
	}
	for i, c := range []byte(text) {
		if !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'z') && c != '-' && c != '.' && c != '_' && c != '~' && c != '+' && c != '/' && c != '=' {
			return Token{}, fmt.Errorf("character %d of the token is none that the header Authorization can have; make one by: openssl rand -hex 32", i+1)
		}
	}
	return Token{sha256.Sum256([]byte(text)), true}, nil
}

// IsZero reports whether it is the zero value.
func (t Token) IsZero() bool { return !t.given }

// Is reports whether a text is the token. How long it takes does not tell how much of it is right.
func (t Token) Is(text string) bool {
	digest := sha256.Sum256([]byte(text))
	return subtle.ConstantTimeCompare(t.digest[:], digest[:]) == 1 && t.given
}
