package enginetest

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"bulkhead/internal/awaittest"
	"bulkhead/internal/certstest"
	"bulkhead/internal/hosttest"
)

// What scripts call their limits.
var (
	lineLimit  = by{".js": "lineLimit", ".lua": "line_limit", ".py": "line_limit"}
	frameLimit = by{".js": "frameLimit", ".lua": "frame_limit", ".py": "frame_limit"}
)

var framesScripts = map[string]by{
	"big": {
		".js": `export default { frameLength: { bytes: 2 }, frameLimit: 10,
	frame(c, b) { c.send(concat(pack("H", b.length), b)); } };`,
		".lua": `return { frame_length = { bytes = 2 }, frame_limit = 10,
	frame = function(c, b) c:send(string.pack(">s2", b)) end }`,
		".py": `
import struct
frame_length = {"bytes": 2}
frame_limit = 10
def frame(c, b): c.send(struct.pack(">H", len(b)) + b)
`,
	},
	"little": {
		".js": `export default { frameLength: { bytes: 4, little: true, whole: true },
	frame(c, b) { c.send(concat(pack("<I", b.length + 4), b)); } };`,
		".lua": `return { frame_length = { bytes = 4, little = true, whole = true },
	frame = function(c, b) c:send(string.pack("<I4", #b + 4) .. b) end }`,
		".py": `
import struct
frame_length = {"bytes": 4, "little": True, "whole": True}
def frame(c, b): c.send(struct.pack("<I", len(b) + 4) + b)
`,
	},
	"data": {
		".js": `export default { data(c, b) {
	if (b.length < 3) return 0;
	c.send(b.subarray(0, 3));
	return b[0] === 33 ? 99 : 3;
} };`,
		".lua": `return { data = function(c, b)
	if #b < 3 then return 0 end
	c:send(b:sub(1, 3))
	return b:byte() == 33 and 99 or 3
end }`,
		".py": `
def data(c, b):
    if len(b) < 3: return 0
    c.send(b[:3])
    return 99 if b[0] == 33 else 3
`,
	},
}

// Frames checks lengths in both orders, limits of frames, and data that consumes less than it is
// given.
func (l *Language) Frames(t *testing.T) {
	t.Helper()
	h, log := l.Serve(t,
		Handler{Name: "big", Script: framesScripts["big"][l.Extension]},
		Handler{Name: "little", Script: framesScripts["little"][l.Extension]},
		Handler{Name: "data", Script: framesScripts["data"][l.Extension]})
	c := Dial(t, h, "big")
	for _, part := range []string{"\x00", "\x03a", "bc\x00\x00\x00\x0a012345", "6789"} {
		hosttest.Say(t, c, part)
	}
	hosttest.Hear(t, c, "\x00\x03abc\x00\x00\x00\x0a0123456789")
	hosttest.Say(t, c, "\x00\x0b0123456789a")
	Gone(t, c)
	log.Wait(t, "frame of 127.0.0.1:", "the peer's frame is longer than "+frameLimit[l.Extension]+", which is 10 bytes")

	c = Dial(t, h, "little")
	long := "\x00\xe0\x00\x00" + strings.Repeat("x", 0xe000-4)
	hosttest.Say(t, c, long)
	hosttest.Hear(t, c, long)
	hosttest.Say(t, c, "\x03\x00\x00\x00")
	Gone(t, c)
	log.Wait(t, "the peer's frame says that it has 3 bytes, and its length alone has 4")

	c = Dial(t, h, "data")
	hosttest.Say(t, c, "ab")
	hosttest.Say(t, c, "cde")
	hosttest.Hear(t, c, "abc")
	hosttest.Say(t, c, "f")
	hosttest.Hear(t, c, "def")
	hosttest.Say(t, c, "!!!")
	Gone(t, c)
	log.Wait(t, "data answers how many bytes it has consumed, 0 to 3")
}

var longLinesScripts = map[string]by{
	"short": {
		".js":  `export default { lineLimit: 5, lineBytes: true, line(c, b) { c.send(b); } };`,
		".lua": `return { line_limit = 5, line = function(c, b) c:send(b) end }`,
		".py": `
line_limit = 5
line_bytes = True
def line(c, b): c.send(b)
`,
	},
}

// LongLines checks that a line within its limit comes whole, as bytes, and that a longer one
// closes.
func (l *Language) LongLines(t *testing.T) {
	t.Helper()
	h, log := l.Serve(t, Handler{Name: "short", Script: longLinesScripts["short"][l.Extension]})
	c := Dial(t, h, "short")
	// The end of a line may come in two parts.
	hosttest.Say(t, c, "12345\r")
	hosttest.Say(t, c, "\nab\xff\x00\n")
	hosttest.Hear(t, c, "12345ab\xff\x00")
	hosttest.Say(t, c, "1234567")
	Gone(t, c)
	log.Wait(t, "line of 127.0.0.1:", "the peer's line is longer than "+lineLimit[l.Extension]+", which is 5 bytes")
}

var uDPScripts = map[string]by{
	"udp": {
		".js": `export default {
  open(c) { c.send(c.transport); },
  line(c, text) { c.send("<" + text); c.send(">"); },
};`,
		".lua": `return {
  open = function(c) c:send(c.transport) end,
  line = function(c, text) c:send("<" .. text) c:send(">") end,
}`,
		".py": `
def open(c): c.send(c.transport)
def line(c, text):
    c.send("<" + text)
    c.send(">")
`,
	},
}

// UDP checks that a datagram is a line's beginning and its end, and a message of its own when it
// is sent.
func (l *Language) UDP(t *testing.T) {
	t.Helper()
	h, _ := l.Serve(t, Handler{Name: "udp", Script: uDPScripts["udp"][l.Extension]})
	c, err := net.Dial("udp", h.Addr("udp"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(awaittest.Deadline())
	hosttest.Say(t, c, "a\nb")
	for _, want := range []string{"udp", "<a", ">", "<b", ">"} {
		b := make([]byte, 100)
		if n, err := c.Read(b); err != nil || string(b[:n]) != want {
			t.Fatalf("%q, %v; want %q", b[:n], err, want)
		}
	}
}

var secureScripts = map[string]by{
	"starttls": {
		".js": `
const encrypted = { line(c, text) { c.send(c.tlsInside + " " + text + "\n"); } };
export default {
  line(c, text) {
    if (text !== "STARTTLS") return c.send("plain\n");
    c.send("go ahead\n");
    c.secure("server");
  },
  secured(c, result) { log("secured", result); c.tlsInside = result; c.handler = encrypted; },
};`,
		".lua": `
local encrypted = { line = function(c, text) c:send(c.inside .. " " .. text .. "\n") end }
return {
  line = function(c, text)
    if text ~= "STARTTLS" then return c:send("plain\n") end
    c:send("go ahead\n")
    c:secure("server")
  end,
  secured = function(c, result) log("secured", result); c.inside = result; c.handler = encrypted end,
}`,
		".py": `
class Encrypted:
    def line(c, text): c.send(c.inside + " " + text + "\n")
def line(c, text):
    if text != "STARTTLS": return c.send("plain\n")
    c.send("go ahead\n")
    c.secure("server")
def secured(c, result):
    log("secured", result)
    c.inside = result
    c.handler = Encrypted
`,
	},
}

// Secure checks that a script begins TLS in the midst of a connection, and may change its handler
// then, and that nothing which came in the clear is taken for encrypted.
func (l *Language) Secure(t *testing.T) {
	t.Helper()
	ca, dir := certstest.NewAuthority(t), t.TempDir()
	cert, key := ca.Write(t, dir, "server", "host.test")
	h, log := l.Serve(t, Handler{Name: "starttls", Script: secureScripts["starttls"][l.Extension], TOML: fmt.Sprintf("[listener.tls]\ncert = %q\nkey = %q\nstarttls = true", cert, key)})
	c := Dial(t, h, "starttls")
	hosttest.Say(t, c, "x\nSTARTTLS\n")
	hosttest.Hear(t, c, "plain\ngo ahead\n")
	inside := tls.Client(c, &tls.Config{RootCAs: ca.Pool(), ServerName: "host.test"})
	hosttest.Say(t, inside, "secret\n")
	hosttest.Hear(t, inside, "OK secret\n")
	log.Wait(t, "secured OK")
	// What follows in the clear right behind must not be taken for encrypted: the host closes.
	c = Dial(t, h, "starttls")
	hosttest.Say(t, c, "STARTTLS\nforged\n")
	Gone(t, c)
}

var shortSendsScripts = map[string]by{
	"big": {
		".js": `let n = 0;
export default {
  queueLimit: 1000000,
  line(c, text) {
    n++;
    const all = c.send(text.repeat(Number(text) * 10000));
    if (!all) log("waiting", n);
  },
  writable(c) { log("writable"); c.send("w"); },
};`,
		".lua": `local n = 0
return {
  queue_limit = 1000000,
  line = function(c, text)
    n = n + 1
    local all = c:send(text:rep(tonumber(text) * 10000))
    if not all then log("waiting", n) end
  end,
  writable = function(c) c:send("w") end,
}`,
		".py": `
queue_limit = 1000000
n = 0
def line(c, text):
    global n
    n += 1
    if not c.send(text * (int(text) * 10000)):
        log("waiting", n)
def writable(c):
    c.send(b"w")
`,
	},
}

// ShortSends checks that what the inbox has no room for waits in the script's queue, in order, and
// requests meanwhile.
func (l *Language) ShortSends(t *testing.T) {
	t.Helper()
	h, log := l.Serve(t, Handler{Name: "big", Script: shortSendsScripts["big"][l.Extension], TOML: "inbox = \"16KiB\"\nsend_buffer = \"8KiB\""})
	c := Dial(t, h, "big")
	hosttest.Say(t, c, "9\n8\n7\n")
	c.CloseWrite()
	log.Wait(t, "waiting 1")
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	// Whether the later ones find room at once depends on how fast this test reads.
	for i, digit := range []string{"9", "8", "7"} {
		rest, found := bytes.CutPrefix(b, bytes.Repeat([]byte(digit), int(digit[0]-'0')*10000))
		after, told := bytes.CutPrefix(rest, []byte("w"))
		if !found || i == 0 && !told {
			t.Fatalf("answer %d does not follow whole, or writable does not follow it; %d bytes are left", i, len(b))
		}
		b = after
	}
	if len(b) > 0 {
		t.Errorf("%d bytes follow", len(b))
	}
}
