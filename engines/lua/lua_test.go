package lua_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"bulkhead/engines/internal/enginetest"
	"bulkhead/internal/hosttest"
)

var scripts = enginetest.Language{Extension: ".lua"}

const lines = `
local visits = 0
return {
  open = function(c) c.name = config.greeting; c:send(c.name .. "\r\n") end,
  line = function(c, text)
    visits = visits + 1
    if text == "never" then log("called after close") end
    if text == "quit" then c:send("bye\n") return c:close() end
    if text:match("^name %w+$") then c.name = text:sub(6) end
    c:send(json.encode{ name = c.name, text = text, visits = visits } .. "\n")
  end,
  closed = function(c, reason) log("closed", c.name, reason) end,
}
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
			hosttest.Say(t, a, "me x\r\n\n\xffü\n")
			hosttest.Hear(t, a, `{"name":"x","text":"name x","visits":1}`+"\n"+
				`{"name":"x","text":"","visits":2}`+"\n"+`{"name":"x","text":"`+"\uFFFD"+`ü","visits":3}`+"\n")
			hosttest.Say(t, b, "hello\nquit\nnever\n")
			visits := map[string]int{"connection": 1}[instance]
			if visits == 0 {
				visits = 4 // of the instance that they share
			}
			hosttest.Hear(t, b, fmt.Sprintf(`{"name":"hé","text":"hello","visits":%d}`, visits)+"\nbye\n")
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
	h, _ := scripts.Serve(t, enginetest.Handler{Name: "eval", Script: `
function hexes(s) return (s:gsub(".", function(b) return ("%02x"):format(b:byte()) end)) end
return { line = function(c, expression)
	connection = c
	local ok, r = pcall(load("local c = connection return " .. expression, "=eval"))
	c:send((type(r) == "table" and json.encode(r) or tostring(r)) .. "\n")
end }`, TOML: "config = { list = [1, 2], none = [] }"})
	c := enginetest.Dial(t, h, "eval")
	answers := bufio.NewReader(c)
	for _, one := range [][2]string{
		{`config`, `{"list":[1,2],"none":[]}`},
		{`c.transport .. c.listener .. c.tenant .. c.server_name`, `tcpevalacme`},
		{`c.peer:match("^[^:]+")`, `127.0.0.1`},
		{`tostring(c):match("^connection of 127")`, `connection of 127`},
		{`type(c.handler.line) .. c.waiting .. tostring(c.nothing)`, "function0nil"},
		{`base64.encode("") .. base64.encode("f") .. base64.encode("fo") .. base64.encode("foo")`, "Zg==Zm8=Zm9v"},
		{`base64.decode("Zg==") .. base64.decode("Zm8") .. base64.decode("Zm9v")`, "ffofoo"},
		{`hexes(base64.decode("-_+/"))`, "fbffbf"},
		{`base64.decode("a")`, "base64.decode: 1 bytes cannot be base64"},
		{`base64.decode("a b=")`, "base64.decode: byte 1 is no digit of base64"},
		{`hexes(hex.decode("00 fF")) .. hex.encode("\0\255")`, "00ff00ff"},
		{`hex.decode("0")`, "hex.decode: there are no two digits at 0"},
		// The check values of the catalogue of parametrised CRC algorithms.
		{`("%x,%x,%x,%x,%x"):format(crc.x25("123456789"), crc.modbus("123456789"), crc.xmodem("123456789"), crc.ccitt("123456789"), crc.crc32("123456789"))`, "906e,4b37,31c3,29b1,cbf43926"},
		// The examples of RFC 1321 and FIPS 180, and one that is longer than a block.
		{`hexes(hash.md5("")) .. hexes(hash.md5("message digest"))`, "d41d8cd98f00b204e9800998ecf8427ef96b697d7cb7938d525a2f31aaf161d0"},
		{`hexes(hash.sha1("abc"))`, "a9993e364706816aba3e25717850c26c9cd0d89d"},
		{`hexes(hash.sha256("abc"))`, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{`hexes(hash.sha256(("a"):rep(1000000)))`, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
		{`hexes(hash.sha1(("a"):rep(56)))`, "c2db330f6083854c99d4b5bfb6e8f29f201be699"},
		{`hexes(hmac.md5("Jefe", "what do ya want for nothing?"))`, "750c783e6ab0b503eaa86e310a5db738"},
		{`hexes(hmac.sha256(("\xaa"):rep(131), "Test Using Larger Than Block-Size Key - Hash Key First"))`, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
		{`hexes(hash.sha512("abc")):sub(1, 32)`, "ddaf35a193617abacc417349ae204131"},
		{`tostring(equal("a", "a")) .. tostring(equal("a", "b")) .. tostring(equal("a", "ab"))`, "truefalsefalse"},
		{`hexes(string.pack(">I2Bi4", 258, 3, -2))`, "010203fffffffe"},
		{`{string.unpack("<I2", "\1\2")}`, "[513,3]"},
		{`json.encode{ b = { true, false, json.null }, a = { x = 1.5, y = 2^70, z = -1 }, c = json.array{}, d = {} }`, `{"a":{"x":1.5,"y":1.1805916207174113e+21,"z":-1},"b":[true,false,null],"c":[],"d":{}}`},
		{`json.encode("\0\"\\\n\u{1F600}\xed\xa0\x80")`, `"\u0000\"\\\n` + "\U0001F600\uFFFD\uFFFD\uFFFD" + `"`},
		{`json.encode{ 1, 2, a = 3 }`, "json.encode: a table has either the keys 1 to n, for an array, or text, for an object; this one has both"},
		{`json.encode{ [3] = 1 }`, "json.encode: a table has either the keys 1 to n, for an array, or text, for an object; this one has the key 3"},
		{`json.encode(print)`, "json.encode: JSON has nothing for a function"},
		{`json.encode(1/0)`, "json.encode: JSON has no number inf"},
		{`(function() local t = {} t[1] = t return json.encode(t) end)()`, "json.encode: tables are 100 deep, or one is in itself"},
		{`json.decode(' {"a" : [1, -2.5e1, 12345678901234567890, "\\u00e9\\ud83d\\ude00\\ud83d", {}], "b":null} ')`, `{"a":[1,-25,1.2345678901234567e+19,"é` + "\U0001F600\uFFFD" + `",{}],"b":null}`},
		{`math.type(json.decode("3")) .. math.type(json.decode("3.0"))`, "integerfloat"},
		{`json.decode("[1,]")`, "json.decode: byte 4 is not the beginning of a value"},
		{`json.decode('{"a"')`, "json.decode: the text ends where a colon is expected"},
		{`json.decode("01")`, "json.decode: byte 2 is not the end"},
		{`json.decode('"a\nb"')`, "json.decode: byte 3 is not the rest of a text, with its quote"},
		{`json.decode(("["):rep(1000))`, "json.decode: it is more than 100 deep"},
		{`#random_bytes(3)`, "3"},
		{`random_bytes(-1)`, "random_bytes gives 0 to 65536 bytes"},
		{`math.random() < 1 and math.random() ~= math.random()`, "true"},
		{`os.time() > 1e9 and os.date("!%Y-%m-%d", 0)`, "1970-01-01"},
		{`os.clock() > 0 and os.execute == nil and io == nil and dofile == nil and debug == nil`, "true"},
		{`count("frames", 2) == nil and count("Bad!")`, "count: INVALID"},
		{`c:secure("server")`, "secure: DENIED"},
		{`c:secure("nobody")`, `secure takes "server", or "client" and the name that the peer's certificate must have`},
		{`c:send({})`, "send takes text, and was given a table; json.encode or tostring make text of it"},
		{`c:send()`, "send takes text, and was given nothing; json.encode or tostring make text of it"},
		{`c.send("x")`, "send is a method of a connection: write c:send(...), with a colon"},
		{`rawset(c, 1, 1)`, "bad argument #1 to 'rawset' (table expected, got connection)"},
		{`getmetatable(c)`, "false"},
		{`(function() c.peer = "x" end)()`, "eval:1: peer of a connection cannot be set; keep it by another name"},
		{`(function() c.handler = { line = 1 } end)()`, "eval:1: line of the handler is not a function, but a number"},
		{`c:timer("x", 1)`, "timer takes whole numbers, and was given x"},
		{`require("x")`, "require of 'x': no such file was put into the script: that is done for a name which stands in it as text; write, for example: require \"lib.parse\""},
		{`require("str" .. "ing") == string`, "true"},
		{`hexes(Hash("md5"):update("a"):update("bc"):digest())`, "900150983cd24fb0d6963f7d28e17f72"},
		{`(function() local h = Hash("md5") h:digest() h:digest() end)()`, `the hash has ended with its digest; Hash("md5") begins another`},
		{`Hash("sha3")`, `there is no hash "sha3"; there are md5, sha1, sha256 and sha512`},
		{`Hash("md5").update("x")`, "update is a method of a hash: write h:update(...), with a colon"},
		{`Hash.x`, "attempt to index a function value (global 'Hash')"},
		{`load("\27Lua")`, "nil"},
		{`select(2, coroutine.resume(coroutine.create(function() sleep(1) end)))`, "sleep waits, and here nothing can; begin what waits by spawn(function() ... end)"},
		{`after(-1, print)`, "after takes milliseconds, 0 to 2147483647"},
		{`#("["):rep(20000)`, "20000"},
		{`select(2, pcall(string.rep, "x", 1 << 30))`, "not enough memory"},
		{`select(2, pcall(string.find, ("a"):rep(300000), (".-"):rep(300000) .. "b"))`, "pattern too complex"},
		{`(select(2, pcall(load, ("("):rep(300) )))`, "nil"},
		{`(function() local f f = function() return ("x"):gsub(".", f) end return (select(2, pcall(f))) end)():match("C stack overflow")`, "C stack overflow"},
		{`(function() local f f = function() return coroutine.wrap(f)() end return (select(2, pcall(f))) end)():match("C stack overflow")`, "C stack overflow"},
	} {
		hosttest.Say(t, c, strings.ReplaceAll(one[0], "\n", `\n`)+"\n")
		if got, err := answers.ReadString('\n'); err != nil || strings.TrimPrefix(got, "eval:1: ") != strings.TrimPrefix(one[1], "eval:1: ")+"\n" {
			t.Errorf("%s\nis   %s (%v)\nwant %s", one[0], strings.TrimSpace(got), err, one[1])
			if err != nil {
				return
			}
		}
	}
}

// An error that is not caught closes its connection, whichever function it is in, and no other one
// of the instance. The log has its line.
func TestErrorsCloseTheirConnectionAlone(t *testing.T) {
	const script = `local which
local function bad(c, where) if where == c.bad then local x; x.y = 1 end end
return {
  open = function(c) c.bad = which; which = ""; bad(c, "open"); c:send("ok\n") end,
  line = function(c, text)
    if text == "next" then c:send("next\n") return end
    if text:match("^next ") then which = text:sub(6) return c:send("will\n") end
    bad(c, "line")
    if c.bad == "spawn" then spawn(function() error("nobody") end) end
    if c.bad == "sleep" then sleep(1) local x; x.y = 1 end
    if c.bad == "after" then after(1, function() local x; x.y = 1 end) end
    if c.bad == "timer" then c:timer(5, 1) end
    if c.bad == "writable" then c:send(("x"):rep(200000)) end
    if c.bad == "table" then error({}) end
    if c.bad == "object" then error(setmetatable({}, { __tostring = function() return "an object" end })) end
    if c.bad == "recursion" then local function f(n) return f(n + 1) + 1 end f(0) end
    if c.bad == "send" then c:send(nil) end
    if c.bad == "full" then while true do c:send(("y"):rep(100000)) end end
    if c.bad == "yield" then coroutine.yield() end
    if c.bad == "memory" then local t = {} while true do t[#t + 1] = ("z"):rep(100000) .. #t end end
    if c.bad == "close" then local x <close> = setmetatable({}, { __close = function() error("twice") end }) error("once") end
    c:send("fine\n")
  end,
  eof = function(c) bad(c, "eof"); c:close() end,
  timer = function(c, token) bad(c, "timer") end,
  writable = function(c) bad(c, "writable") end,
  closed = function(c, reason) bad(c, "closed") end,
}
`
	// It takes long to fill all of the memory.
	h, log := scripts.Serve(t, enginetest.Handler{Name: "bad", Script: script,
		TOML: "instance = \"listener\"\ninbox = \"16KiB\"\nsend_buffer = \"8KiB\"\nevent_timeout = \"1m\""})
	neighbour := enginetest.Dial(t, h, "bad")
	hosttest.Hear(t, neighbour, "ok\n")
	for _, one := range [][]string{
		{"open", "open of 127.0.0.1:", "bad.lua:2: attempt to index a nil value (local 'x')", "bad.lua:4)"},
		{"line", "line of 127.0.0.1:", "attempt to index a nil value", "at bad (bad.lua:2), at a function (bad.lua:8)"},
		{"spawn", "spawn of 127.0.0.1:", "bad.lua:9: nobody"},
		{"sleep", "line of 127.0.0.1:", "bad.lua:10: attempt"},
		{"after", "after of 127.0.0.1:", "bad.lua:11: attempt"},
		{"timer", "timer of 127.0.0.1:", "bad.lua:25)"},
		{"writable", "writable of 127.0.0.1:", "bad.lua:26)"},
		{"table", "a table was thrown, which is no text", "bad.lua:14)"},
		{"object", "line of 127.0.0.1:", ": an object, at", "bad.lua:15)"},
		{"recursion", "stack overflow, at f (bad.lua:16), ... ", " more, at a function (bad.lua:16)"},
		{"send", "bad.lua:17: send takes text, and was given nothing"},
		{"full", "beyond queue_limit, which is 262144", "bad.lua:18)"},
		{"yield", "coroutine.yield outside of a coroutine", "bad.lua:19)"},
		{"memory", "not enough memory", "bad.lua:20)"},
		{"close", "bad.lua:21: once"},
		{"eof", "eof of 127.0.0.1:", "bad.lua:24)"},
		{"closed", "closed of 127.0.0.1:", "bad.lua:27)"},
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
// No pcall of the script keeps it.
func TestEndlessLoop(t *testing.T) {
	h, log := scripts.Serve(t, enginetest.Handler{Name: "loop", Script: `return { line = function(c, text)
		while text == "loop" do pcall(function() while true do end end) end
		c:send(text .. "\n")
	end }`, TOML: enginetest.Brief})
	a, b := enginetest.Dial(t, h, "loop"), enginetest.Dial(t, h, "loop")
	hosttest.Say(t, a, "loop\n")
	enginetest.Gone(t, a)
	log.Wait(t, "event_timeout")
	hosttest.Say(t, b, "here\n")
	hosttest.Hear(t, b, "here\n")
}

// What is stopped says where it is, with its callers: in loops of each kind, in calls, in patterns,
// and in what makes much in few steps. The engine's own functions are not shown.
func TestWhereItIsStopped(t *testing.T) {
	loops := map[string]string{
		"while":     "while true do end",
		"repeat":    "repeat local x = 1 until false",
		"for":       "for i = 1, math.huge do end",
		"iterator":  "for _ in os.clock do end",
		"jump":      "::again:: goto again",
		"calls":     "local function f(n) if n > 0 then f(n - 1) f(n - 1) end end f(200)",
		"pattern":   `("a"):rep(64):find(("a-"):rep(32) .. "b")`,
		"large":     `while true do local s = ("x"):rep(1 << 20) end`,
		"coroutine": "coroutine.wrap(function() while true do end end)()",
		"pcall":     "while true do pcall(function() while true do end end) end",
	}
	var all []enginetest.Handler
	for name, loop := range loops {
		all = append(all, enginetest.Handler{Name: name, Script: "local function work()\n" + loop + "\nend\nreturn { line = function(c)\nwork()\nend }", TOML: enginetest.Brief})
	}
	h, log := scripts.Serve(t, all...)
	for _, one := range all {
		c := enginetest.Dial(t, h, one.Name)
		hosttest.Say(t, c, "x\n")
		enginetest.Gone(t, c)
		log.Wait(t, "was stopped", "listener="+one.Name, "event_timeout), at ", one.Name+".lua:2)")
	}
	log.Wait(t, "listener=while", "(event_timeout), at work (while.lua:2), at a function (while.lua:5)\" ")
	log.Wait(t, "listener=calls", ", at f (calls.lua:2), ... ", "at work (calls.lua:2), at a function (calls.lua:5)")
	if strings.Contains(log.String(), " in=") {
		t.Error("the log tells of the engine's functions")
	}
}

// A script requires files in its folder, and they others; each runs once. What goes wrong there is
// said with its file.
func TestRequire(t *testing.T) {
	h, log := scripts.Serve(t, enginetest.Handler{Name: "many", Script: `#!/usr/bin/lua
local parse = require "lib.parse"
loads = 0
local later = { x = function() return require "later" end }
return { line = function(c, text)
  if text == "fail" then parse.fail() end
  local a, path = require "lib"
  c:send(parse.double(text) .. later.x() .. later.x() .. loads .. a .. tostring(require "nothing") .. tostring(require "string" == string) .. "\n")
  if text == "circle" then require "round" end
end }`, Files: map[string]string{
		"lib/parse.lua": "local lib = require 'lib'\nlocal parse = {}\nfunction parse.double(s) return s .. lib .. s end\nfunction parse.fail()\n  error('no')\nend\nreturn parse",
		"lib/init.lua":  "local name, path = ...\nreturn '<' .. name .. ' ' .. path .. '>'",
		"later.lua":     "\uFEFFloads = loads + 1 return 'late'",
		"nothing.lua":   "loads = loads",
		"round.lua":     "return require 'again'",
		"again.lua":     "\nreturn require 'round'",
	}})
	c := enginetest.Dial(t, h, "many")
	hosttest.Say(t, c, "a\n")
	hosttest.Hear(t, c, "a<lib lib/init.lua>alatelate1<lib lib/init.lua>truetrue\n")
	hosttest.Say(t, c, "fail\n")
	enginetest.Gone(t, c)
	log.Wait(t, "lib/parse.lua:5: no, at fail (lib/parse.lua:5), at a function (many.lua:6)")
	c = enginetest.Dial(t, h, "many")
	hosttest.Say(t, c, "circle\n")
	enginetest.Gone(t, c)
	log.Wait(t, "again.lua:2: require of 'round': it is being loaded already", "at the script (again.lua:2), at the script (round.lua:1), at a function (many.lua:9)")
}

// A script dials and waits, and the two connections are spliced, or go on by callbacks. While a
// callback waits, its connection's next lines do.
func TestDial(t *testing.T) {
	h, log := scripts.Serve(t,
		enginetest.Handler{Name: "echo", Script: `return { data = function(c, b) c:send(b) end }`},
		enginetest.Handler{Name: "proxy", Script: `local ways = {}
function ways.splice(c, address) local up = assert(dial(address)) up:send("hi\n") c:splice(up) end
function ways.ask(c, address)
  local answered
  local up = dial(address, {
    data = function(up, b) c:send(b) up:close() end,
    closed = function() c:send(" closed\n") answered = true end,
  })
  sleep(1)
  up:send("question")
  while not answered do sleep(1) end
end
function ways.pcall(c, address) c:send(select(2, pcall(function() sleep(1) error("caught", 0) end)) .. "\n") end
function ways.refused(c, address) local up, what, code = dial(address) c:send(code .. " " .. what .. "\n") end
function ways.uncaught(c, address) assert(dial(address)) end
function ways.both(c, address)
  local done = 0
  for i = 1, 2 do
    spawn(function() dial(address):abort() done = done + 1 end)
  end
  while done < 2 do sleep(1) end
  c:send("both\n")
end
function ways.cancel(c)
  local said = {}
  cancel(after(1, function() said[#said + 1] = "cancelled" end))
  for i = 3, 1, -1 do after(i, function() said[#said + 1] = i end) end
  sleep(5)
  table.sort(said) -- on a busy machine the first may be due before the last is set
  c:send(table.concat(said) .. "\n")
end
return { line = function(c, text)
  local what, address = text:match("(%w+) ?(.*)")
  return ways[what](c, address)
end }`})
	echo := h.Addr("echo")
	c := enginetest.Dial(t, h, "proxy")
	hosttest.Say(t, c, "ask tcp://"+echo+"\nrefused tcp://10.0.0.1:1\nrefused tcp://127.0.0.1:1\ncancel\n")
	hosttest.Hear(t, c, "question closed\nDENIED dial tcp://10.0.0.1:1: DENIED\nREFUSED dial tcp://127.0.0.1:1: REFUSED\n123\n")
	hosttest.Say(t, c, "both tcp://"+echo+"\npcall\n")
	hosttest.Hear(t, c, "both\ncaught\n")
	hosttest.Say(t, c, "splice tcp://"+echo+"\nrest")
	hosttest.Hear(t, c, "hi\nrest")
	hosttest.Say(t, c, "more")
	hosttest.Hear(t, c, "more")
	c.CloseWrite()
	hosttest.HearEnd(t, c)
	c = enginetest.Dial(t, h, "proxy")
	hosttest.Say(t, c, "uncaught tcp://127.0.0.1:1\n")
	enginetest.Gone(t, c)
	log.Wait(t, "line of 127.0.0.1:", "dial tcp://127.0.0.1:1: REFUSED")
}

// An open that waits refuses as one that does not, and what the peer says meanwhile waits.
func TestOpenThatWaits(t *testing.T) {
	h, _ := scripts.Serve(t, enginetest.Handler{Name: "late", Script: `local n = 0
return {
  open = function(c) n = n + 1 sleep(2) c.ready = true return n % 2 == 1 end,
  line = function(c, text) c:send(tostring(c.ready) .. text .. "\n") end,
}`, TOML: `instance = "listener"`})
	c := enginetest.Dial(t, h, "late")
	hosttest.Say(t, c, "a\nb\n")
	hosttest.Hear(t, c, "truea\ntrueb\n")
	refused := enginetest.Dial(t, h, "late")
	enginetest.Gone(t, refused)
}

// Each copy of the snapshot draws random numbers of its own.
func TestRandomDiffers(t *testing.T) {
	h, _ := scripts.Serve(t, enginetest.Handler{Name: "random", Script: `local first = math.random(0)
return { open = function(c) c:send(math.random(0) .. "\n") c:close() end }`})
	seen := make(map[string]bool)
	for range 4 {
		b, err := io.ReadAll(enginetest.Dial(t, h, "random"))
		if err != nil || len(b) < 3 || seen[string(b)] {
			t.Errorf("%q, %v, and before %v", b, err, seen)
		}
		seen[string(b)] = true
	}
}

// What is wrong with a script is said with its line when it is loaded.
func TestScriptsThatCannotBeLoaded(t *testing.T) {
	scripts.CannotBeLoaded(t, []enginetest.Wrong{
		{Script: "return {\n  line = function(c text) end }", Want: "wrong0.lua:2:"},
		{Script: "local x = 1", Want: "the script returns no handler; write: return { line ="},
		{Script: "return 7", Want: "the script returns no handler; write: return { line ="},
		{Script: "return { onLine = function() end }", Want: "the handler has none of the functions that are called: start, open,"},
		{Script: "return { line = 7 }", Want: "line of the handler is not a function, but a number"},
		{Script: "return { line = print, data = print }", Want: "a handler has one of data, line and frame, and this one has 2"},
		{Script: "return { frame = print }", Want: "a handler with frame needs frame_length, as { bytes = 2 }"},
		{Script: "return { line_limit = -1, line = print }", Want: "line_limit is a whole number, 1 to 65534"},
		{Script: "local x = require 'x'; return { line = print }", Want: `wrong8.lua:1:19: require of "x": there is no x.lua and no x/init.lua in the script's folder`},
		{Script: "\n\nlocal x; x.y = 1; return { line = print }", Want: "wrong9.lua:3:"},
		{Script: "after(1, print); return { line = print }", Want: "there is no time before the first connection"},
		{Script: "sleep(1); return { line = print }", Want: "there is no time before the first connection"},
		{Script: "dial('tcp://127.0.0.1:1'); return { line = print }", Want: "nothing can be dialled before the first connection"},
		{Script: "return { line = print, start = function()\n error('not today') end }", Want: "wrong13.lua:2: not today"},
		{Script: "", Want: "wrong14.lua is empty; a handler is, for example: return { line = function"},
		{Script: "\x00asm\x01\x00\x00\x00", Want: "wrong15.lua holds a WebAssembly module and no script; call it .wasm"},
		{Script: "\x1bLua", Want: "attempt to load a binary chunk"},
		{Script: "while true do end", Want: "(event_timeout)", TOML: enginetest.Brief},
		{Script: "local n = 'x'; require(n)", Want: "wrong18.lua:1: require of 'x': no such file was put into the script"},
		{Script: "local t = {} while true do t[#t+1] = ('x'):rep(1<<20) .. #t end", Want: "wrong19.lua:1)"},
	})
}

// What ended connections leave behind in an instance that all share is collected, cycles and
// waiting callbacks too.
func TestEndedConnectionsLeaveNothing(t *testing.T) {
	h, _ := scripts.Serve(t, enginetest.Handler{Name: "shared", Script: `return {
  open = function(c)
    c.cycle = { c, function() return c end, ("x"):rep(2000) .. c.peer }
    c.handler = { own = function() return c end, line = function(c, text)
      after(1, function() c.later = true end)
      sleep(1)
      c:send(text .. "\n")
      sleep(1)
    end }
  end,
}`, TOML: `instance = "listener"`})
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

// The handler that docs/LUA.md begins with does what it says, and so does the one that relays.
func TestHandlersOfThePage(t *testing.T) {
	page, err := os.ReadFile("../../docs/LUA.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, rest := range strings.Split(string(page), "```lua\n")[1:] {
		script, _, _ := strings.Cut(rest, "```\n")
		all = append(all, script)
	}
	if len(all) != 2 {
		t.Fatalf("the page has %d scripts", len(all))
	}
	h, log := scripts.Serve(t, enginetest.Handler{Name: "hello", Script: all[0]})
	c := enginetest.Dial(t, h, "hello")
	hosttest.Hear(t, c, "Who are you?\r\n")
	hosttest.Say(t, c, "x\r\nname Bob\r\ny\r\nquit\r\n")
	hosttest.Hear(t, c, `{"name":"stranger","text":"x"}`+"\r\nHello Bob!\r\n"+`{"name":"Bob","text":"y"}`+"\r\n")
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
