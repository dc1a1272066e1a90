package lua_test

import (
	"bufio"
	"fmt"
	"strings"
	"testing"

	"bulkhead/engines/internal/enginetest"
	"bulkhead/internal/hosttest"
)

// keeping keeps a string of each line in one of the ways that there are, and collects garbage now
// and then, in a function with variables that it does not set. "check" says which was lost.
const keeping = `
local list, keys, functions, nested, raw, moved, inserted, waiting = {}, {}, {}, {}, {}, {}, {}, {}
local last, lastNumber
local function text(n) return ("%d."):format(n):rep(n % 2 == 0 and 2 or 30) .. "#" end
local echo = coroutine.wrap(function(a) while true do a = coroutine.yield(a) end end)
local made = 0
local maker = coroutine.wrap(function()
  while true do
    local s = text(made)
    coroutine.yield()
    if s ~= text(made) then error("the coroutine lost " .. made) end
    made = made + 1
    coroutine.yield()
  end
end)
local function unset(n)
  if n < 0 then local a, b, c, d, e, f, g, h = text(n), text(n), text(n), text(n), text(n), text(n), text(n), text(n) end
  collectgarbage(n % 3 == 0 and "step" or "collect")
end
local function fill(n) -- leaves strings where unset has its variables
  local a, b, c, d, e, f, g, h = text(n), text(n + 1), text(n), text(n + 1), text(n), text(n + 1), text(n), text(n + 1)
  return #(a .. b .. c .. d .. e .. f .. g .. h)
end
local ways = {
  function(c, n, s) list[n] = s end,
  function(c, n, s) keys[s] = n end,
  function(c, n, s) last, lastNumber = s, n end,
  function(c, n, s) c.kept, c.number = s, n end,
  function(c, n, s) kept, number = s, n end,
  function(c, n, s) functions[n] = function() return s end end,
  function(c, n, s) echo(s); list[-n] = n end,
  function(c, n, s) maker() end,
  function(c, n, s) nested[n] = { { s } } end,
  function(c, n, s) rawset(raw, n, s) end,
  function(c, n, s) table.insert(inserted, s); inserted[-#inserted] = n end,
  function(c, n, s) table.move({ s }, 1, 1, n, moved) end,
  function(c, n, s) local _, e = pcall(error, s, 0); list[n] = e end,
  function(c, n, s) list[n] = json.decode(json.encode{ s })[1] end,
  function(c, n, s) s:gsub("#", function(h) list[n] = s:sub(1, -2) .. h end) end,
  function(c, n, s) spawn(function() waiting[n] = false; sleep(1); waiting[n] = s end) end,
  function(c, n, s) fill(n) end,
  function(c, n, s) unset(n) end,
  function(c, n, s) if n % 5 == 0 then collectgarbage("incremental") fill(n) unset(n) collectgarbage("generational") end end,
}
local function check(c)
  local function want(s, n, how) if s ~= text(n) then error(how .. " lost " .. n .. ": " .. tostring(s)) end end
  for n, s in pairs(list) do if n > 0 then want(s, n, "list") end end
  for s, n in pairs(keys) do want(s, n, "keys"); if keys[text(n)] ~= n then error("no key " .. n) end end
  want(last, lastNumber, "upvalue"); want(c.kept, c.number, "connection"); want(kept, number, "global")
  for n, f in pairs(functions) do want(f(), n, "function") end
  for n, t in pairs(nested) do want(t[1][1], n, "nested") end
  for n, s in pairs(raw) do want(s, n, "raw") end
  for n, s in pairs(moved) do want(s, n, "moved") end
  for n, s in ipairs(inserted) do want(s, inserted[-n], "inserted") end
  for n, s in pairs(waiting) do if s then want(s, n, "waiting") end end
end
return { line = function(c, line)
  local n = tonumber(line)
  if n then
    ways[n % #ways + 1](c, n, text(n))
  else
    check(c)
    c:send("all there\n")
  end
end }
`

// A string is freed with the event that has made it if nothing keeps it, and only then.
func TestKeptStrings(t *testing.T) {
	t.Parallel()
	h, log := scripts.Serve(t, enginetest.Handler{Name: "keeping", Script: keeping})
	c := enginetest.Dial(t, h, "keeping")
	var say strings.Builder
	for n := 1; n <= 600; n++ {
		fmt.Fprintf(&say, "%d\n", n)
		if n%60 == 0 {
			say.WriteString("check\n")
			hosttest.Say(t, c, say.String())
			hosttest.Hear(t, c, "all there\n")
			say.Reset()
		}
	}
	if strings.Contains(log.String(), "lost") {
		t.Error(log.String())
	}
}

// A line that makes strings and keeps none leaves the collector nothing, be they long or short.
func TestLinesLeaveNothing(t *testing.T) {
	t.Parallel()
	h, _ := scripts.Serve(t, enginetest.Handler{Name: "count", Script: `
return { line = function(c, text)
  local whole = text .. "!"
  c:send(whole:rep(3, ","):upper():sub(1, 4) .. " " .. #whole .. " " .. collectgarbage("count") .. "\n")
end }`})
	c := enginetest.Dial(t, h, "count")
	answers := bufio.NewReader(c)
	first := ""
	for n := range 400 {
		hosttest.Say(t, c, []string{"short\n", strings.Repeat("long ", 20) + "\n"}[n%2])
		said, err := answers.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		count := said[strings.LastIndexByte(said, ' '):]
		switch {
		case n == 200:
			first = count
		case n > 200 && n%2 == 0 && count != first:
			t.Fatalf("after %d lines%s KiB are in use, and after 200 it was%s", n, count, first)
		}
	}
}

// A callback that catches an error is left by a jump, and the lines and frames behind its own are
// read all the same.
func TestLinesBehindACaughtError(t *testing.T) {
	t.Parallel()
	const caught = `pcall(error, "caught"); c:send(what .. "\n") end }`
	h, _ := scripts.Serve(t,
		enginetest.Handler{Name: "caughtline", Script: `return { line = function(c, what) ` + caught},
		enginetest.Handler{Name: "caughtframe", Script: `return { frame_length = { bytes = 1 }, frame = function(c, what) ` + caught})
	for name, say := range map[string]string{"caughtline": "one\ntwo\nthree\n", "caughtframe": "\x03one\x03two\x05three"} {
		c := enginetest.Dial(t, h, name)
		hosttest.Say(t, c, say)
		hosttest.Hear(t, c, "one\ntwo\nthree\n")
	}
}
