package lua_test

import (
	"testing"

	"bulkhead/engines/internal/enginetest"
)

// What is too deep is an error with its line, also where functions of the engine call each other,
// and where making a text of the error is.
func TestTooDeep(t *testing.T) {
	script := func(body string) string { return "return { line = function()\n" + body + " end }" }
	scripts.TooDeep(t, []enginetest.Deep{
		{"a function", script("local function f() return f() + 1 end f()"), "stack overflow, at f (FILE:2), ... ", " more, at a function (FILE:2)"},
		{"a pattern", script(`local function f() return ("x"):gsub(".", f) end f()`), "C stack overflow", "at f (FILE:2)"},
		{"a metamethod", script("local t = setmetatable({}, { __concat = function(a, b) return a .. b end }) return t .. 'x'"), "C stack overflow", "at concat (FILE:2)"},
		{"a text of a table", script("local t = setmetatable({}, { __tostring = function(t) return tostring(t) end }) tostring(t)"), "C stack overflow", "(FILE:2)"},
		{"a table in itself, as JSON", script("local t = {} t[1] = t json.encode(t)"), "tables are 100 deep, or one is in itself", "(FILE:2)"},
		{"a text of what is thrown", script("local f f = function() error(setmetatable({}, { __tostring = f })) end f()"), "a table was thrown, and its __tostring failed", "at f (FILE:2)"},
		{"what throws itself", script("error(setmetatable({}, { __tostring = function(e) error('no text') end }))"), "a table was thrown, and its __tostring failed: FILE:2: no text"},
		{"tasks", script("local f f = function() spawn(f) end f()"), "C stack overflow, at ", "(FILE:2)"},
	})
}
