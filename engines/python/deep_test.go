package python_test

import (
	"testing"

	"bulkhead/engines/internal/enginetest"
)

// What is too deep is an error with its line, also where functions of the engine call each other.
// Of a recursion the line has one round, so that it has room for who began it.
func TestTooDeep(t *testing.T) {
	script := func(body string) string {
		return "import json\ndef deep(a):\n    for i in range(20000): a = (a,)\n    return a\ndef line(c, text):\n" + body
	}
	const said = "RuntimeError: maximum recursion depth exceeded"
	scripts.TooDeep(t, []enginetest.Deep{
		{"a function", script("    def f(): return f() + 1\n    f()\n"), said + ", at f (FILE:6), ... ", " more, at line (FILE:7)"},
		{"a function that sorts", script("    def f(x): return sorted([2, 1], key=f)\n    f(1)\n"), said, "at f (FILE:6)"},
		{"a method", script("    class A: __eq__ = lambda self, o: self == o\n    A() == A()\n"), said, "(FILE:6)"},
		{"a generator", script("    def f(): yield from f()\n    list(f())\n"), said, "at f (FILE:6)"},
		{"an async function", "async def f(): await f()\nasync def line(c, text): await f()\n", said, "at f (FILE:1)"},
		{"tuples as a key", script("    a = {deep(()): 1}\n"), said + ", at line (FILE:6)"},
		{"tuples that are compared", script("    a = deep(()) == deep(())\n"), said + ", at line (FILE:6)"},
		{"an order of tuples", script("    a = deep((1,)) < deep((2,))\n"), said + ", at line (FILE:6)"},
		{"dictionaries that are compared", script("    a = {}\n    b = {}\n    for i in range(20000): a, b = {1: a}, {1: b}\n    a == b\n"), said + ", at line (FILE:9)"},
		{"a text of tuples", script("    repr(deep(()))\n"), said + ", at line (FILE:6)"},
		{"JSON of tuples", script("    json.dumps(deep(()))\n"), said + ", at line (FILE:6)"},
		{"sets in each other", script("    a = frozenset()\n    for i in range(20000): a = frozenset((a,))\n"), said + ", at line (FILE:7)"},
	})
}
