package js_test

import (
	"bufio"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"strings"
	"testing"

	"bulkhead/engines/internal/enginetest"
	"bulkhead/internal/hosttest"
)

// The hashes are those of Go's library, for messages that end anywhere in a block, at once and in
// parts, and with keys of every length.
func TestHashes(t *testing.T) {
	h, _ := scripts.Serve(t, enginetest.Handler{Name: "hashes", Script: `
const message = (n) => Uint8Array.from({ length: n }, (_, i) => i * 7 & 255);
const algorithms = {
  plain: (name, m) => hash[name](m),
  parts: (name, m) => {
    const h = new Hash(name);
    for (let at = 0, n = 0; at < m.length; at += n++) h.update(m.subarray(at, at + n));
    return h.digest();
  },
  keyed: (name, m) => hmac[name](m.subarray(0, m.length / 2), m),
};
export default {
  line(c, request) {
    const [how, name, most] = request.split(" ");
    const all = new Hash("sha256");
    for (let n = 0; n < most; n++) all.update(algorithms[how](name, message(n)));
    c.send(hex.encode(all.digest()) + "\n");
  },
};`, TOML: `event_timeout = "30s"`})
	c := enginetest.Dial(t, h, "hashes")
	answers := bufio.NewReader(c)
	const most = 300
	message := make([]byte, most)
	for i := range message {
		message[i] = byte(i * 7)
	}
	for name, made := range map[string]func() hash.Hash{"md5": md5.New, "sha1": sha1.New, "sha256": sha256.New, "sha512": sha512.New} {
		for _, how := range []string{"plain", "parts", "keyed"} {
			all := sha256.New()
			for n := range most {
				one := made()
				if how == "keyed" {
					one = hmac.New(made, message[:n/2])
				}
				one.Write(message[:n])
				all.Write(one.Sum(nil))
			}
			hosttest.Say(t, c, fmt.Sprintf("%s %s %d\n", how, name, most))
			got, err := answers.ReadString('\n')
			if want := fmt.Sprintf("%x", all.Sum(nil)); err != nil || strings.TrimSpace(got) != want {
				t.Errorf("%s, %s: %q, %v; want %s", name, how, got, err, want)
			}
		}
	}
}
