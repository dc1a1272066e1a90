package python_test

import (
	"bufio"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"bulkhead/engines/internal/enginetest"
	"bulkhead/internal/hosttest"
)

var scripts = enginetest.Language{Extension: ".py"}

const lines = `
import json, re
visits = 0
name = re.compile("^name ([a-z]+)$")

def open(c):
    c.name = config["greeting"]
    c.send(c.name + "\r\n")

def line(c, text):
    global visits
    visits += 1
    if text == "never":
        log("called after close")
    if text == "quit":
        c.send("bye\n")
        return c.close()
    m = name.match(text)
    if m:
        c.name = m.group(1)
    c.send(json.dumps([c.name, text, visits]) + "\n")

def closed(c, reason):
    log("closed", c.name, reason)
`

func TestLines(t *testing.T) {
	for _, instance := range []string{"connection", "loop", "listener"} {
		t.Run(instance, func(t *testing.T) {
			h, log := scripts.Serve(t, enginetest.Handler{Name: "lines", Script: lines,
				TOML: fmt.Sprintf("instance = %q\nconfig = { greeting = \"hé\" }", instance)})
			a, b := enginetest.Dial(t, h, "lines"), enginetest.Dial(t, h, "lines")
			hosttest.Hear(t, a, "hé\r\n")
			hosttest.Hear(t, b, "hé\r\n")
			// Half a line, and then its end with two more; b's state is its own.
			hosttest.Say(t, a, "na")
			hosttest.Say(t, a, "me x\r\n\n\xff\xe2\x82ü\n")
			hosttest.Hear(t, a, `["x", "name x", 1]`+"\n"+`["x", "", 2]`+"\n"+`["x", "`+"\uFFFD\uFFFD\uFFFD"+`ü", 3]`+"\n")
			hosttest.Say(t, b, "hello\nquit\nnever\n")
			visits := map[string]int{"connection": 1}[instance]
			if visits == 0 {
				visits = 4 // of the instance that they share
			}
			hosttest.Hear(t, b, fmt.Sprintf(`["hé", "hello", %d]`, visits)+"\nbye\n")
			hosttest.HearEnd(t, b)
			a.CloseWrite()
			hosttest.HearEnd(t, a)
			log.Wait(t, "closed x OK")
			if strings.Contains(log.String(), "called after close") {
				t.Error("the script is given lines of a connection that it has closed")
			}
		})
	}
}

// What a script has besides the language, by what it answers.
func TestHelpers(t *testing.T) {
	h, log := scripts.Serve(t, enginetest.Handler{Name: "eval", Script: `
import base64, binascii, crc, hashlib, heapq, hmac, io, json, math, random, re, struct, time
from collections import namedtuple, OrderedDict, deque

def fails(f, *args):
    try:
        return f(*args)
    except Exception as e:
        return "%s: %s" % (type(e).__name__, e)

def line(c, text):
    names = globals()
    names["c"] = c
    try:
        r = eval(text, names)
    except Exception as e:
        r = "%s: %s" % (type(e).__name__, e)
    c.send((r if isinstance(r, str) else repr(r)) + "\n")
`, TOML: "config = { list = [1, 2], none = [] }"})
	c := enginetest.Dial(t, h, "eval")
	answers := bufio.NewReader(c)
	for _, one := range [][2]string{
		{`config["list"], config["none"]`, `([1, 2], [])`},
		{`c.transport + c.listener + c.tenant + c.server_name`, `tcpevalacme`},
		{`c.peer.split(":")[0]`, `127.0.0.1`},
		{`str(c)[:18]`, `<connection of 127`},
		{`c.waiting, c.handler.__name__`, "(0, '__main__')"},
		{`c.nothing`, "AttributeError: 'connection' object has no attribute 'nothing'"},
		{`base64.b64encode(b"") + base64.b64encode(b"f") + base64.b64encode("fo") + base64.b64encode(b"foo")`, "b'Zg==Zm8=Zm9v'"},
		{`base64.b64decode("Zg==") + base64.b64decode(b"Zm8") + base64.b64decode("Zm9v")`, "b'ffofoo'"},
		{`base64.b64decode("-_+/").hex() + str(base64.urlsafe_b64encode(b"\xfb\xff\xbf"), "utf-8")`, "fbffbf-_-_"},
		{`base64.b64decode("a")`, "ValueError: base64.decode: 1 bytes cannot be base64"},
		{`base64.b64decode("a b=")`, "ValueError: base64.decode: byte 1 is no digit of base64"},
		{`binascii.hexlify(b"\x00\xff"), binascii.unhexlify("00fF"), bytes.fromhex("00 ff").hex()`, `(b'00ff', b'\x00\xff', '00ff')`},
		// The check values of the catalogue of parametrised CRC algorithms.
		{`"%x,%x,%x,%x,%x" % tuple(f(b"123456789") for f in (crc.x25, crc.modbus, crc.xmodem, crc.ccitt, crc.crc32))`, "906e,4b37,31c3,29b1,cbf43926"},
		// The examples of RFC 1321 and FIPS 180, and one that is longer than a block.
		{`hashlib.md5(b"").hexdigest() + hashlib.md5("message digest").hexdigest()`, "d41d8cd98f00b204e9800998ecf8427ef96b697d7cb7938d525a2f31aaf161d0"},
		{`hashlib.sha1(b"abc").hexdigest()`, "a9993e364706816aba3e25717850c26c9cd0d89d"},
		{`hashlib.new("sha256", b"abc").digest().hex()`, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{`hashlib.sha256(b"a" * 1000000).hexdigest()`, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
		{`[(h.update(b"b"), h.update(b"c"), h.hexdigest(), h.hexdigest())[2:] for h in [hashlib.sha1(b"a")]]`,
			"[('a9993e364706816aba3e25717850c26c9cd0d89d', 'a9993e364706816aba3e25717850c26c9cd0d89d')]"},
		{`hashlib.sha512(b"abc").hexdigest()[:32]`, "ddaf35a193617abacc417349ae204131"},
		{`hashlib.new("sha3")`, "ValueError: there are md5, sha1, sha256 and sha512, and no other hashes"},
		{`hmac.new(b"Jefe", b"what do ya want for nothing?", "md5").hexdigest()`, "750c783e6ab0b503eaa86e310a5db738"},
		{`hmac.digest(b"\xaa" * 131, b"Test Using Larger Than Block-Size Key - Hash Key First", hashlib.sha256).hex()`, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
		{`hmac.compare_digest("a", "a"), hmac.compare_digest(b"a", b"b"), hmac.compare_digest("a", "ab")`, "(True, False, False)"},
		{`struct.pack(">HBi", 258, 3, -2).hex(), struct.unpack("<H", b"\x01\x02")`, "('010203fffffffe', (513,))"},
		{`json.dumps(json.loads('{"a": [1, -2.5e1, 12345678901234567890, null, true]}'))`, `{"a": [1, -25.0, 12345678901234567890, null, true]}`},
		{`json.loads('"\\u00e9\\ud83d\\ude00\\ud83d."')`, "é\U0001F600\uFFFD."},
		{`len(json.loads("[" * 5000 + "]" * 5000))`, "1"},
		{`json.loads(b' {"a" : [1, -2.5e1, 0, -0, 2E+3, "", [], {}], "b":{"c" :null},"a":true}\r\n\t') == {"a": True, "b": {"c": None}}`, "True"},
		{`json.loads('["a", [1, -2.5e1, 0, -0, 2E+3, "", [[]], {}], true, false ]')`, "['a', [1, -25.0, 0, 0, 2000.0, '', [[]], {}], True, False]"},
		{`json.loads('["\\u00E9\\ud83d\\ude00", "\\udead\\ud800x\\ud800\\u0041", "\\"\\\\\\/\\b\\f\\n\\r\\t"]')`, `['\xe9\U0001f600', '\ufffd\ufffdx\ufffdA', '"\\/\x08\x0c\n\r\t']`},
		{`json.load(io.StringIO('{"a": 1}')), type(json.loads("1")), type(json.loads("1.0"))`, "({'a': 1}, <class 'int'>, <class 'float'>)"},
		{`json.loads(None)`, "TypeError: object with buffer protocol required"},
		{`json.dumps([(1, None), True, 1.5, 1e300, "\"\\\n\x01é", -2**70])`, `[[1, null], true, 1.5, 1e+300, "\"\\\n\u0001é", -1180591620717411303424]`},
		{`json.dumps({7: {}}) + json.dumps({False: []}) + json.dumps({None: 0}) + json.dumps({1.5: "x"})`, `{"7": {}}{"false": []}{"null": 0}{"1.5": "x"}`},
		{`json.dumps([namedtuple("P", ("x", "y"))(1, 2), OrderedDict([("b", 1)]), type("D", (dict,), {})({"a": 1})], separators=(",", ":"))`, `[[1,2],{"b":1},{"a":1}]`},
		{`[fails(json.dumps, v) for v in (float("inf"), float("nan"), b"x", {(1, 2): 3}, {1}, print)] == ["ValueError: json.dumps: JSON has no number inf", "ValueError: json.dumps: JSON has no number nan", ` +
			`"TypeError: json.dumps: JSON has nothing for a value of type bytes", "TypeError: json.dumps: a key is text or a number, and this one is of type tuple", "TypeError: json.dumps: JSON has nothing for a value of type set", "TypeError: json.dumps: JSON has nothing for a value of type function"]`, "True"},
		{`(lambda a: (a.append(a), fails(json.dumps, a)))([])[1]`, "RuntimeError: maximum recursion depth exceeded"},
		{`(lambda s: (json.dump([1, {"a": 2}], s), s.getvalue()))(io.StringIO())[1]`, `[1, {"a": 2}]`},
		{`2 ** 100, 7 // 2, -7 % 3, 0.1, 1e100`, "(1267650600228229401496703205376, 3, 2, 0.1, 1e+100)"},
		{`re.match(r"(\w+)=(\d+)", "ab=12").groups(), re.sub("a+", "b", "caat"), re.compile("[,;] ?").split("a, b;c")`, `(('ab', '12'), 'cbt', ['a', 'b', 'c'])`},
		{`re.compile("(")`, "ValueError: error in regex"},
		{`"é€".encode(), len("é€")`, `(b'\xc3\xa9\xe2\x82\xac', 2)`},
		{`b"\xc3\xa9".decode()`, "é"},
		{`b"\xff".decode()`, "UnicodeError: "},
		{`f"{3.14159:.2f} {'x':>4} {17:#x}"`, "3.14    x 0x11"},
		{`sorted({3: "c", 1: "a"}.items(), key=lambda p: -p[0])`, "[(3, 'c'), (1, 'a')]"},
		{`namedtuple("P", ("x", "y"))(1, y=2), list(deque((1, 2), 5)), OrderedDict([("b", 1), ("a", 2)])`, "(P(x=1, y=2), [1, 2], OrderedDict({'b': 1, 'a': 2}))"},
		{`len(random_bytes(3)), 0 <= random.random() < 1, random.randint(5, 5), random.choice([4])`, "(3, True, 5, 4)"},
		{`random_bytes(-1)`, "ValueError: random_bytes gives 0 to 65536 bytes"},
		{`time.time() > 1e9 and time.monotonic() > 0 and time.time_ns() > 10**18, time.gmtime(86400 * 365)`, "(True, (1971, 1, 1, 0, 0, 0, 4, 1))"},
		{`time.gmtime(1e300)`, "ValueError: gmtime takes seconds since 1970, and these are beyond its years"},
		{`time.sleep(1)`, "RuntimeError: time.sleep would keep all others waiting; write: await sleep(ms), in an async def"},
		{`count("frames", 2), fails(count, "Bad!"), fails(count, "frames", "x")`, "(None, 'ValueError: count: INVALID', 'TypeError: count takes a name and a whole number')"},
		{`log("a", 1), log.warn("b"), log.debug(), print("c", end="!\n")`, "(None, None, None, None)"},
		{`c.secure("server")`, "OSError: secure: DENIED"},
		{`c.secure("nobody")`, `ValueError: secure takes "server", or "client" and the name that the peer's certificate must have`},
		{`c.secure("client")`, `ValueError: secure takes "server", or "client" and the name that the peer's certificate must have`},
		{`c.send({})`, "TypeError: send takes str or bytes, and was given a value of type dict; json.dumps or str make text of it"},
		{`c.send(None)`, "TypeError: send takes str or bytes, and was given a value of type NoneType; json.dumps or str make text of it"},
		{`c.send()`, "TypeError: function takes 2 positional arguments but 1 were given"},
		{`type(c).send(1, "x")`, "AttributeError: type object 'connection' has no attribute 'send'"},
		{`setattr(c, "peer", "x")`, "AttributeError: peer of a connection cannot be set; keep it by another name"},
		{`setattr(c, "send", "x")`, "AttributeError: send of a connection cannot be set; keep it by another name"},
		{`setattr(c, "x", 1), c.x, delattr(c, "x"), hasattr(c, "x")`, "(None, 1, None, False)"},
		{`setattr(c, "handler", {"line": 1})`, "TypeError: a handler is a class, an object of one, or a module, with functions such as data(c, b), and this one is of type dict"},
		{`setattr(c, "handler", lambda c: 1)`, "TypeError: a handler is a class, an object of one, or a module, with functions such as data(c, b), and this one is of type function"},
		{`setattr(c, "handler", type("H", (), {"line": 1}))`, "TypeError: line of the handler is not a function, but of type int"},
		{`c.timer("x", 1)`, "TypeError: timer takes two whole numbers, a token and milliseconds"},
		{`c.splice(1)`, "TypeError: it takes a connection, and was given a value of type int"},
		{`__import__("os")`, "ImportError: no module named 'os', neither of the engine nor among the files that the script's import statements name"},
		{`(lambda: __builtins__)()`, "NameError: name '__builtins__' isn't defined"},
		{`fails(exec, "open('/etc/passwd')", {})`, "OSError: open: a guest has no files"},
		{`after(-1, print)`, "ValueError: after takes milliseconds, 0 to 2147483647"},
		{`after(1, 1)`, "TypeError: after takes milliseconds and a function, and was given a value of type int"},
		{`spawn(print)`, "TypeError: spawn takes what an async function answers, as spawn(f(c)), and was given a value of type function"},
		{`cancel(77)`, "None"},
		{`b"x" * (1 << 28)`, "MemoryError: memory allocation failed, allocating 268435457 bytes"},
		{`fails(exec, "def f(): return f() + 1\nf()", {})`, "RuntimeError: maximum recursion depth exceeded"},
		{`fails(exec, "class A:\n def __init__(self): A()\nA()", {})`, "RuntimeError: maximum recursion depth exceeded"},
		{`fails(exec, "def f(x): return sorted([1, 2], key=f)\nf(1)", {})`, "RuntimeError: maximum recursion depth exceeded"},
		{`fails(exec, "def g():\n yield from g()\nlist(g())", {})`, "RuntimeError: maximum recursion depth exceeded"},
		{`fails(exec, "a = []\nfor i in range(100000): a = [a]\nrepr(a)", {})`, "RuntimeError: maximum recursion depth exceeded"},
		{`fails(exec, "x = " + "(" * 5000, {})`, "SyntaxError: invalid syntax"},
		{`fails(re.match, "(a|b|ab)*c", "ab" * 20000)`, "RuntimeError: the regular expression repeats something too often for this text"},
		{`len(re.match("[a-z]*", "a" * 8000).group(0))`, "8000"},
		{`fails(exec, "x = 1 +", {})`, "SyntaxError: invalid syntax"},
	} {
		hosttest.Say(t, c, one[0]+"\n")
		if got, err := answers.ReadString('\n'); err != nil || got != one[1]+"\n" {
			t.Errorf("%s\nis   %s (%v)\nwant %s", one[0], strings.TrimSpace(got), err, one[1])
			if err != nil {
				return
			}
		}
	}
	log.Wait(t, "level=INFO", `text="a 1"`)
	log.Wait(t, "level=WARN", "text=b")
	log.Wait(t, "level=INFO", "text=c!")
}

// An error that is not caught closes its connection, whichever function it is in, and no other one
// of the instance. The log has its line.
func TestErrorsCloseTheirConnectionAlone(t *testing.T) {
	const script = `
which = ""
def bad(c, where):
    if where == c.bad: None.y
async def later():
    await sleep(1)
    raise ValueError("nobody")
def f(n): return f(n + 1) + 1
class Own(Exception): pass

def open(c):
    global which
    c.bad = which
    which = ""
    bad(c, "open")
    c.send("ok\n")
async def line(c, text):
    global which
    if text == "next":
        return c.send("next\n")
    if text.startswith("next "):
        which = text[5:]
        return c.send("will\n")
    bad(c, "line")
    if c.bad == "spawn": spawn(later())
    if c.bad == "sleep":
        await sleep(1)
        None.y
    if c.bad == "after": after(1, lambda: None.y)
    if c.bad == "timer": c.timer(5, 1)
    if c.bad == "writable": c.send("x" * 200000)
    if c.bad == "own": raise Own("mine", 7)
    if c.bad == "recursion": f(0)
    if c.bad == "send": c.send(None)
    while c.bad == "full": c.send("y" * 100000)
    if c.bad == "memory":
        all = []
        while True: all.append("z" * 100000 + str(len(all)))
    if c.bad == "await": await 7
    if c.bad == "exit": raise SystemExit
    c.send("fine\n")
def eof(c):
    bad(c, "eof")
    c.close()
def timer(c, token): bad(c, "timer")
def writable(c): bad(c, "writable")
def closed(c, reason): bad(c, "closed")
`
	h, log := scripts.Serve(t, enginetest.Handler{Name: "bad", Script: script,
		TOML: "instance = \"listener\"\nevent_timeout = \"1m\"\ninbox = \"16KiB\"\nsend_buffer = \"8KiB\""})
	neighbour := enginetest.Dial(t, h, "bad")
	hosttest.Hear(t, neighbour, "ok\n")
	const missing = "AttributeError: 'NoneType' object has no attribute 'y'"
	for _, one := range [][]string{
		{"open", "open of 127.0.0.1:", missing, "at bad (bad.py:4), at open (bad.py:15)"},
		{"line", "line of 127.0.0.1:", missing, "at bad (bad.py:4), at line (bad.py:24)"},
		{"spawn", "spawn of 127.0.0.1:", "ValueError: nobody, at later (bad.py:7)"},
		{"sleep", "line of 127.0.0.1:", missing, "at line (bad.py:28)"},
		{"after", "after of 127.0.0.1:", missing, "(bad.py:29)"},
		{"timer", "timer of 127.0.0.1:", "at timer (bad.py:45)"},
		{"writable", "writable of 127.0.0.1:", "at writable (bad.py:46)"},
		{"own", "line of 127.0.0.1:", "Own: ('mine', 7), at line (bad.py:32)"},
		{"recursion", "RuntimeError: maximum recursion depth exceeded, at f (bad.py:8), ... ", " more, at line (bad.py:33)"},
		{"send", "TypeError: send takes str or bytes, and was given a value of type NoneType", "at line (bad.py:34)"},
		{"full", "beyond queue_limit, which is 262144", "at line (bad.py:35)"},
		{"memory", "MemoryError: memory allocation failed", "at line (bad.py:38)"},
		{"await", "TypeError: 'int' object isn't iterable", "at line (bad.py:39)"},
		{"exit", "SystemExit", "at line (bad.py:40)"},
		{"eof", "eof of 127.0.0.1:", "at eof (bad.py:43)"},
		{"closed", "closed of 127.0.0.1:", "at closed (bad.py:47)"},
	} {
		hosttest.Say(t, neighbour, "next "+one[0]+"\n")
		hosttest.Hear(t, neighbour, "will\n")
		c := enginetest.Dial(t, h, "bad")
		if one[0] != "open" {
			hosttest.Hear(t, c, "ok\n")
			if one[0] == "eof" || one[0] == "closed" {
				c.CloseWrite()
			} else {
				hosttest.Say(t, c, "go\n")
			}
		}
		enginetest.Gone(t, c)
		log.Wait(t, one[1:]...)
	}
	hosttest.Say(t, neighbour, "next\n")
	hosttest.Hear(t, neighbour, "next\n")
}

// A loop without an end is stopped by event_timeout, with its instance, which is its connection's.
// No except of the script keeps it, and the log has its line.
func TestEndlessLoop(t *testing.T) {
	h, log := scripts.Serve(t, enginetest.Handler{Name: "loop", Script: `
def spin():
    while True:
        pass
def line(c, text):
    while text == "loop":
        try:
            spin()
        except:
            pass
    c.send(text + "\n")
`, TOML: enginetest.Brief})
	a, b := enginetest.Dial(t, h, "loop"), enginetest.Dial(t, h, "loop")
	hosttest.Say(t, a, "loop\n")
	enginetest.Gone(t, a)
	log.Wait(t, "event_timeout")
	log.Wait(t, "event_timeout", "at spin (loop.py:4), at line (loop.py:8)")
	hosttest.Say(t, b, "here\n")
	hosttest.Hear(t, b, "here\n")
}

// A script dials and waits, and the two connections are spliced, or go on by callbacks. While a
// callback waits, its connection's next lines do.
func TestDial(t *testing.T) {
	h, log := scripts.Serve(t,
		enginetest.Handler{Name: "echo", Script: "def data(c, b): c.send(b)\n"},
		enginetest.Handler{Name: "proxy", Script: `
class Asker:
    def __init__(self, c):
        self.c = c
        self.answered = False
    def data(self, up, b):
        self.c.send(b)
        up.close()
    def closed(self, up, reason):
        self.c.send(" closed " + reason + "\n")
        self.answered = True

async def splice(c, address):
    up = await dial(address)
    up.send("hi\n")
    c.splice(up)
async def ask(c, address):
    asker = Asker(c)
    up = await dial(address, asker)
    await sleep(1)
    up.send("question")
    while not asker.answered: await sleep(1)
async def wrong(): 
    await sleep(1)
    raise ValueError("caught")
async def caught(c, address):
    try:
        await wrong()
    except ValueError as e:
        c.send(str(e) + "\n")
async def refused(c, address):
    try:
        await dial(address)
    except OSError as e:
        c.send(str(e) + "\n")
async def uncaught(c, address):
    await dial(address)
async def both(c, address):
    done = []
    async def one(n):
        up = await dial(address)
        up.abort()
        done.append(n)
    spawn(one(1))
    spawn(one(2))
    while len(done) < 2: await sleep(1)
    c.send("both\n")
async def cancelled(c, address):
    said = []
    cancel(after(1, lambda: said.append("cancelled")))
    for i in (3, 2, 1): after(i, lambda i=i: said.append(i))
    await sleep(5)
    c.send(str(said) + "\n")
async def twice(c, address):
    s = sleep(1)
    async def one(): await s
    spawn(one())
    await s
def line(c, text):
    what, _, address = text.partition(" ")
    return globals()[what](c, address)
`})
	echo := h.Addr("echo")
	c := enginetest.Dial(t, h, "proxy")
	hosttest.Say(t, c, "ask tcp://"+echo+"\nrefused tcp://10.0.0.1:1\nrefused tcp://127.0.0.1:1\ncancelled\n")
	hosttest.Hear(t, c, "question closed OK\ndial tcp://10.0.0.1:1: DENIED\ndial tcp://127.0.0.1:1: REFUSED\n[1, 2, 3]\n")
	hosttest.Say(t, c, "both tcp://"+echo+"\ncaught\n")
	hosttest.Hear(t, c, "both\ncaught\n")
	hosttest.Say(t, c, "splice tcp://"+echo+"\nrest")
	hosttest.Hear(t, c, "hi\nrest")
	hosttest.Say(t, c, "more")
	hosttest.Hear(t, c, "more")
	c.CloseWrite()
	hosttest.HearEnd(t, c)
	for _, one := range [][]string{
		{"uncaught tcp://127.0.0.1:1", "line of 127.0.0.1:", "OSError: dial tcp://127.0.0.1:1: REFUSED, at uncaught (proxy.py:"},
		{"twice", "line of 127.0.0.1:", "RuntimeError: sleep is awaited twice, at twice (proxy.py:"},
	} {
		c = enginetest.Dial(t, h, "proxy")
		hosttest.Say(t, c, one[0]+"\n")
		enginetest.Gone(t, c)
		log.Wait(t, one[1:]...)
	}
}

// An open that waits refuses as one that does not, and what the peer says meanwhile waits.
func TestOpenThatWaits(t *testing.T) {
	h, _ := scripts.Serve(t, enginetest.Handler{Name: "late", Script: `
n = 0
async def open(c):
    global n
    n += 1
    await sleep(2)
    c.ready = True
    return n % 2 == 1
def line(c, text): c.send(str(c.ready) + text + "\n")
`, TOML: `instance = "listener"`})
	c := enginetest.Dial(t, h, "late")
	hosttest.Say(t, c, "a\nb\n")
	hosttest.Hear(t, c, "Truea\nTrueb\n")
	refused := enginetest.Dial(t, h, "late")
	enginetest.Gone(t, refused)
}

// Each copy of the snapshot draws random numbers of its own.
func TestRandomDiffers(t *testing.T) {
	h, _ := scripts.Serve(t, enginetest.Handler{Name: "random", Script: `
import random
first = random.random()
def open(c):
    c.send("%d\n" % random.getrandbits(30))
    c.close()
`})
	seen := make(map[string]bool)
	for range 4 {
		b, err := io.ReadAll(enginetest.Dial(t, h, "random"))
		if err != nil || len(b) < 2 || seen[string(b)] {
			t.Errorf("%q, %v, and before %v", b, err, seen)
		}
		seen[string(b)] = true
	}
}

// What ended connections leave behind in an instance that all share is collected, cycles and
// waiting callbacks too.
func TestEndedConnectionsLeaveNothing(t *testing.T) {
	h, _ := scripts.Serve(t, enginetest.Handler{Name: "shared", Script: `
class Own:
    def __init__(self, c): self.c = c
    async def line(self, c, text):
        def later(): c.later = True
        after(1, later)
        await sleep(1)
        c.send(text + "\n")
        await sleep(1)
def open(c):
    c.cycle = [c, lambda: c, "x" * 2000 + c.peer]
    c.handler = Own(c)
`, TOML: `instance = "listener"`})
	trips := func(n int) int64 {
		for range n {
			c := enginetest.Dial(t, h, "shared")
			hosttest.Say(t, c, "x\n")
			hosttest.Hear(t, c, "x\n")
			c.Close()
		}
		hosttest.Eventually(t, "all have ended", func() bool { return h.Stats().Connections == 0 })
		return int64(h.Stats().Tenants[0].Memory)
	}
	first := trips(200)
	if grown := trips(200) - first; grown > 128<<10 {
		t.Errorf("200 connections more leave %d bytes", grown)
	}
}

// What is no JSON is refused, with where: the kinds that lists of bad inputs for decoders have.
func TestWhatIsNoJSON(t *testing.T) {
	h, _ := scripts.Serve(t, enginetest.Handler{Name: "json", Script: `
import binascii, json
def line(c, text):
    try:
        c.send("taken: " + repr(json.loads(binascii.unhexlify(text))) + "\n")
    except ValueError as e:
        c.send(str(e) + "\n")
`})
	c := enginetest.Dial(t, h, "json")
	answers := bufio.NewReader(c)
	const value, end, quote, array, object, digit, key = "the beginning of a value", "the end", "the rest of a text, with its quote",
		"a comma or a bracket", "a comma or a brace", "a digit", "a key in quotes"
	for _, one := range []struct {
		text string
		at   int // from 1; 0: the text ends there
		want string
	}{
		{"", 0, value}, {" ", 0, value}, {"nope", 1, value}, {"nul", 1, value}, {"True", 1, value}, {"truth", 1, value}, {"nullx", 5, end}, {"1 2", 3, end}, {"[]]", 3, end}, {"{}}", 3, end},
		{"[1 true]", 4, array}, {"[1,]", 4, value}, {"[,1]", 2, value}, {"[1,,2]", 4, value}, {"[1;2]", 3, array}, {"[1", 0, array}, {"[1,", 0, value}, {"[", 0, value}, {"]", 1, value},
		{"[1}", 3, array}, {"[:]", 2, value}, {"[\"a\":1]", 5, array}, {"[1,\n1\n,1", 0, array}, {"[\f]", 2, value}, {"[\u00a01]", 2, value}, {"[1]x", 4, end}, {"[[]", 0, array},
		{"{1:1}", 2, key}, {"{a:1}", 2, key}, {"{'a':1}", 2, key}, {"{\"a\" 1}", 6, "a colon"}, {"{\"a\",1}", 5, "a colon"}, {"{\"a\":}", 6, value}, {"{\"a\":1,}", 8, key}, {"{,}", 2, key},
		{"{\"a\":1 \"b\":2}", 8, object}, {"{\"a\":1", 0, object}, {"{\"a\"", 0, "a colon"}, {"{\"a", 0, quote}, {"{", 0, key}, {"{\"a\":1]", 7, object}, {"{\"a\"::1}", 6, value},
		{"{[]:1}", 2, key}, {"{null:1}", 2, key}, {"{\"a\":1}#", 8, end}, {"{\"a\":/**/1}", 6, value}, {"{\"a\":\"b\"}//", 10, end}, {"}", 1, value},
		{"01", 2, end}, {"-01", 3, end}, {"[012]", 3, array}, {"+1", 1, value}, {".5", 1, value}, {"1.", 0, digit}, {"[1.]", 4, digit}, {"1.e1", 3, digit}, {"-", 0, digit}, {"--1", 2, digit}, {"-a", 2, digit},
		{"1e", 0, digit}, {"1e+", 0, digit}, {"1ea", 3, digit}, {"1e1.5", 4, end}, {"0x1", 2, end}, {"1_000", 2, end}, {"1a", 2, end}, {"Infinity", 1, value}, {"-Infinity", 2, digit}, {"NaN", 1, value}, {"\uff11", 1, value},
		{"\"", 0, quote}, {"\"abc", 0, quote}, {"\"a\nb\"", 3, quote}, {"\"a\tb\"", 3, quote}, {"\"a\x00b\"", 3, quote}, {"'a'", 1, value}, {"\"\\", 0, "an escape"}, {"\"\\\"", 0, quote}, {"\"\\x41\"", 3, "an escape"},
		{"\"\\a\"", 3, "an escape"}, {"\"\\'\"", 3, "an escape"}, {"\"\\U0041\"", 3, "an escape"}, {"\"\\u12\"", 4, "four hex digits"}, {"\"\\u12g4\"", 4, "four hex digits"}, {"\"\\u 123\"", 4, "four hex digits"},
		{"\"\\u\"", 4, "four hex digits"}, {"\"\\ud800\\u\"", 10, "four hex digits"}, {"\"\\\u00e9\"", 3, "an escape"}, {"\"\xff\"", 2, "UTF-8"}, {"\"a\xc3\"", 3, "UTF-8"}, {"\"\xc0\xaf\"", 2, "UTF-8"}, {"\"\xed\xa0\x80\"", 2, "UTF-8"},
		{"\"\xf4\x90\x80\x80\"", 2, "UTF-8"}, {"\ufeff{}", 1, value}, {"\x00", 1, value}, {"1\x00", 2, end}, {"[1\x00]", 3, array}, {"abc", 1, value}, {"\"a\" b", 5, end}, {"<html>", 1, value},
	} {
		want := fmt.Sprintf("json.loads: byte %d is not %s", one.at, one.want)
		if one.at == 0 {
			want = fmt.Sprintf("json.loads: the text ends where %s is expected", one.want)
		}
		hosttest.Say(t, c, hex.EncodeToString([]byte(one.text))+"\n")
		if got, err := answers.ReadString('\n'); err != nil || got != want+"\n" {
			t.Errorf("%q\nis   %s (%v)\nwant %s", one.text, strings.TrimSpace(got), err, want)
			if err != nil {
				return
			}
		}
	}
	hosttest.Say(t, c, hex.EncodeToString([]byte("["+strings.Repeat("1", 4000)+"]"))+"\n")
	if got, err := answers.ReadString('\n'); got != "taken: ["+strings.Repeat("1", 4000)+"]\n" {
		t.Errorf("a number of 4000 digits: %.200q (%v)", got, err)
	}
}

// A script imports files in its folder, and they others, as in Python; each runs once. What goes
// wrong there is said with its file.
func TestImport(t *testing.T) {
	h, log := scripts.Serve(t, enginetest.Handler{Name: "many", Script: `
import sys, lib.parse, lib.sub.deep as deep
from lib import double, parse as p, late
from spaces import inside
try:
    import absent
except ImportError:
    absent = None
def line(c, text):
    if text == "fail":
        p.fail()
    if text == "circle":
        import round
    if text == "absent":
        import missing
        missing.find()
    from lib import late as again
    c.send("%s %s %s %s %s %s %s\n" % (double(text), deep.NAME, inside.x, absent, again is late, lib.parse is p, lib.loads))
`, Files: map[string]string{
		"lib/__init__.py":     "from .parse import double\nloads = globals().get('loads', 0) + 1\n",
		"lib/parse.py":        "\"\"\"import nothing\"\"\"\ndef double(s): return s + s\ndef fail():\n  None.x\n",
		"lib/late.py":         "\uFEFFfrom . import parse\nx = 1",
		"lib/sub/__init__.py": "",
		"lib/sub/deep.py":     "from .. import parse as p\nfrom ..parse import double\nNAME = __name__ + double('!') + str(p.double('?'))",
		"spaces/inside.py":    "x = 'in'",
		"round.py":            "from again import x",
		"again.py":            "\nfrom round import y\nx = 1",
		"missing.py":          "def find():\n  return __import__('ab' + 'sent')",
	}})
	c := enginetest.Dial(t, h, "many")
	hosttest.Say(t, c, "a\n")
	hosttest.Hear(t, c, "aa lib.sub.deep!!?? in None True True 1\n")
	hosttest.Say(t, c, "fail\n")
	enginetest.Gone(t, c)
	log.Wait(t, "'NoneType' object has no attribute 'x', at fail (lib/parse.py:4), at line (many.py:11)")
	c = enginetest.Dial(t, h, "many")
	hosttest.Say(t, c, "circle\n")
	enginetest.Gone(t, c)
	log.Wait(t, "ImportError: can't import name y: its file does not define it, or not yet, as files import each other in a circle", "at the script (again.py:2), at the script (round.py:1), at line (many.py:13)")
	c = enginetest.Dial(t, h, "many")
	hosttest.Say(t, c, "absent\n")
	enginetest.Gone(t, c)
	log.Wait(t, "ImportError: no module named 'absent'", "at find (missing.py:2), at line (many.py:16)")
}

// The modules that the page names are there.
func TestModulesOfThePage(t *testing.T) {
	page, err := os.ReadFile("../../docs/PYTHON.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(strings.ReplaceAll(string(page), "\n", " "), "The engine has the modules ")
	list, _, ok := strings.Cut(rest, ".")
	if !ok {
		t.Fatal("the page does not name them")
	}
	script := ""
	for i, name := range strings.Split(list, "`") {
		if i%2 == 1 {
			script += "import " + name + "\n"
		}
	}
	h, _ := scripts.Serve(t, enginetest.Handler{Name: "all", Script: script + "def line(c, text): c.send(text)"})
	c := enginetest.Dial(t, h, "all")
	hosttest.Say(t, c, "x\n")
	hosttest.Hear(t, c, "x")
}

var rounds = flag.Int("rounds", 8, "how often TestCollector makes garbage of all kinds in each of its two events")

// The collector runs in the midst of an event, and takes what is garbage and nothing else: by
// loops that make tens of megabytes, from plain functions, methods, generators, comprehensions and
// calls through C, whose results are checked.
func TestCollector(t *testing.T) {
	h, _ := scripts.Serve(t, enginetest.Handler{Name: "churn", Script: fmt.Sprintf("ROUNDS = %d\n", *rounds) + `
import json
class Node:
    def __init__(self, value, rest): self.value, self.rest = value, rest
    def total(self):
        n, at = 0, self
        while at:
            n, at = n + at.value, at.rest
        return n
def chain(n):
    rest = None
    for i in range(n):
        rest = Node(i, rest)
        str(i) * 50
    return rest
def numbers(n):
    for i in range(n):
        yield [str(i)] * 3
def key(s):
    for i in range(3): "garbage" * 20 + str(i)
    return -int(s)
def line(c, text):
    kept = {}
    for round in range(ROUNDS):
        for i in range(500):
            kept[i % 100] = ("value of " + str(i % 100)) * 4
            [str(j) * 8 for j in range(10)]
        head = chain(200)
        names = sorted([str(i) for i in range(50)], key=key)
        joined = ",".join(x[0] for x in numbers(100))
        made = json.loads(json.dumps({"a": [{"b": str(i)} for i in range(50)]}))
        assert head.total() == 19900, head.total()
        assert names[0] == "49" and names[49] == "0" and len(names) == 50, names
        assert joined == ",".join(str(i) for i in range(100)), joined
        assert [d["b"] for d in made["a"]] == [str(i) for i in range(50)], made
        for i in range(100):
            assert kept[i] == ("value of " + str(i)) * 4, kept[i]
    c.send(text + "\n")
`, TOML: "instance = \"listener\"\nevent_timeout = \"1m\""})
	c := enginetest.Dial(t, h, "churn")
	for range 2 {
		hosttest.Say(t, c, "churned\n")
		hosttest.Hear(t, c, "churned\n")
	}
	if used := h.Stats().Tenants[0].Memory; used > 8<<20 {
		t.Errorf("the instance has %d bytes after all of that", used)
	}
}

// The collector does not see what only the locals of a C function point at. So it does not run in
// Python that such a function calls, and the captured variables of a function, when there are
// many, are handed to it in memory that the collector knows: both had their values overwritten.
func TestCollectorLeavesWhatIsInC(t *testing.T) {
	const churn = `
def churn():
    for i in range(3000): [i, "x" + str(i)]
`
	h, log := scripts.Serve(t,
		enginetest.Handler{Name: "told", Script: churn + `
class Part:
    def __repr__(self):
        self = None
        churn()
        return "part"
def line(c, text):
    raise ValueError(Part(), "second", "third")
`},
		enginetest.Handler{Name: "captured", Script: churn + `
def begin(c, text, *more):
    a, b, d, e, f, g = [[text, str(i)] for i in range(6)]
    def later():
        for i in range(3000): [i, "x" + str(i)]
        kept = [[i, str(i)] for i in range(200)]
        c.kept = kept
        c.said = ",".join(x[1] for x in (a, b, d, e, f, g))
    return later
def show(c):
    assert c.kept == [[i, str(i)] for i in range(200)], c.kept
    c.send(c.said + "\n")
def line(c, text):
    after(1, begin(c, text))
    after(30, lambda: [[1, str(i)] for i in range(3000)])
    after(60, lambda: show(c))
`})
	t.Run("captured", func(t *testing.T) {
		c := enginetest.Dial(t, h, "captured")
		hosttest.Say(t, c, "hello\n")
		hosttest.Hear(t, c, "0,1,2,3,4,5\n")
	})
	t.Run("told", func(t *testing.T) {
		c := enginetest.Dial(t, h, "told")
		hosttest.Say(t, c, "hello\n")
		log.Wait(t, "listener=told ", `ValueError: (part, 'second', 'third'), at line (told.py:`)
	})
}

// The handler that docs/PYTHON.md begins with does what it says, and so does the one that relays.
func TestHandlersOfThePage(t *testing.T) {
	page, err := os.ReadFile("../../docs/PYTHON.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, rest := range strings.Split(string(page), "```python\n")[1:] {
		if script, _, _ := strings.Cut(rest, "```\n"); strings.Contains(script, "def ") {
			all = append(all, script)
		}
	}
	if len(all) != 2 {
		t.Fatalf("the page has %d scripts", len(all))
	}
	h, log := scripts.Serve(t, enginetest.Handler{Name: "hello", Script: all[0]})
	c := enginetest.Dial(t, h, "hello")
	hosttest.Hear(t, c, "Who are you?\r\n")
	hosttest.Say(t, c, "x\r\nname Bob\r\ny\r\nquit\r\n")
	hosttest.Hear(t, c, `{"name": "stranger", "text": "x"}`+"\r\nHello Bob!\r\n"+`{"name": "Bob", "text": "y"}`+"\r\n")
	hosttest.HearEnd(t, c)
	c.Close() // else the host waits for the end of it
	log.Wait(t, "closed 127.0.0.1:", " OK")

	relay, _ := scripts.Serve(t, enginetest.Handler{Name: "relay", Script: all[1],
		TOML: fmt.Sprintf("config = { upstream = \"tcp://%s\" }", h.Addr("hello"))})
	c = enginetest.Dial(t, relay, "relay")
	hosttest.Hear(t, c, "Who are you?\r\n")
	hosttest.Say(t, c, "name Ann\r\nquit\r\n")
	hosttest.Hear(t, c, "Hello Ann!\r\n")
	hosttest.HearEnd(t, c)
}
