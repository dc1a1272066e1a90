package progress

import (
	"bytes"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What is compiled is said when it begins, while it goes on, and when it is over; of what
// does not take long, check says nothing; and nobody says anything when nothing is compiled.
func TestCompilingIsSaid(t *testing.T) {
	said := func(long bool, do func(c *Compiling)) (lines []string) {
		synctest.Test(t, func(t *testing.T) {
			var b bytes.Buffer
			do(&Compiling{log: slog.New(slog.NewTextHandler(&b, nil)), plugins: 3, long: long})
			lines = strings.Split(strings.TrimSpace(regexp.MustCompile(`(?m)^time=\S+ level=INFO msg=`).ReplaceAllString(b.String(), "")), "\n")
		})
		return lines
	}
	wait := func(d time.Duration) {
		time.Sleep(d)
		synctest.Wait()
	}
	some := func(c *Compiling) {
		one := c.Begin("a", "one.wasm")
		two := c.Begin("b", "two.wasm")
		wait(stillCompiling + time.Millisecond)
		two()
		wait(stillCompiling)
		one()
		c.End()
		c.End()
		late := c.Begin("a", "late.wasm")
		wait(10 * stillCompiling)
		late()
		c.Begin("", "all.wasm")()
	}
	for _, c := range []struct {
		what string
		long bool
		do   func(*Compiling)
		want string
	}{
		{"run", false, some, `"compiling modules whose code the state folder does not have; the next start finds it there" first=one.wasm tenant=a plugins=3
"still compiling" compiled=0 now="[one.wasm two.wasm]" for=2s
"still compiling" compiled=1 now=[one.wasm] for=4s
compiled modules=2 took=4.001s
"compiling a module whose code the state folder does not have" module=late.wasm tenant=a
compiled module=late.wasm tenant=a took=20s
"compiling a module whose code the state folder does not have" module=all.wasm
compiled module=all.wasm took=0s`},
		{"check", true, func(c *Compiling) {
			done := c.Begin("a", "one.wasm")
			wait(stillCompiling + time.Millisecond)
			done()
			c.End()
		}, `"still compiling" compiled=0 now=[one.wasm] for=2s`},
		{"a quick check", true, func(c *Compiling) { c.Begin("a", "one.wasm")(); c.End() }, ""},
		{"nothing to compile", false, func(c *Compiling) { c.End() }, ""},
	} {
		if got := strings.Join(said(c.long, c.do), "\n"); got != c.want {
			t.Errorf("%s says\n%s\nwant\n%s", c.what, got, c.want)
		}
	}
}
