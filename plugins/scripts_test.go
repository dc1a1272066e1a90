package plugins

import (
	"os"
	"testing"

	"bulkhead/engines"
)

// Scripts that answer each line with that line.
var scripts = map[string]string{
	"echo.js":  `export default { line(c, text) { c.send(text + "\n") } }`,
	"echo.lua": `return { line = function(c, text) c:send(text .. "\n") end }`,
	"echo.py":  "def line(c, text): c.send(text + '\\n')",
}

// scriptModule is the module of one of the scripts, by its name.
func scriptModule(t testing.TB, name string) []byte {
	t.Helper()
	b, err := engines.Module(name, []byte(scripts[name]))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A connection of a script in JavaScript writes to few pages when it is answered, and to no more
// when it is answered again: engines/js/src/memory.h keeps together what events write to.
func TestScriptsWriteToFewPages(t *testing.T) {
	if testing.Short() {
		t.Skip("compiling takes a second, and waits for nothing")
	}
	if os.Getpagesize() != 4096 {
		t.Skip("the engine keeps together what is on pages of 4 KiB")
	}
	const most = 6 // it is 5: one of the stack, one of the window, three of the engine's
	onPoolOf(t, scriptModule(t, "echo.js"), func(p *Pool) {
		i, err := p.Get()
		if err != nil {
			t.Error(err)
			return
		}
		defer i.Close()
		i.loop = nil // which it would pass on if the machine were busy elsewhere
		f := &sink{}
		h := i.admit(f)
		i.opened(h, f)
		for line := range 100 {
			i.data(h, f, copy(i.Window(nil), "hello, everybody out there!\n"))
			_, pages, ok := i.memory.Changes(nil, nil)
			if !ok {
				t.Skip("the system does not say which pages were written to")
			}
			if pages == 0 || pages > most {
				t.Errorf("after %d lines %d pages are written to, want 1 to %d", line+1, pages, most)
				return
			}
		}
	})
}
