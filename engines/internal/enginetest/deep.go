package enginetest

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"bulkhead/internal/hosttest"
)

// Deep has a name, a script that calls itself, or has the engine do so, until there is no room for
// it, when it hears a line, and then parts of what it is told; FILE is the script's file in them.
type Deep []string

// TooDeep checks that each of the scripts gets an error of its own language, which names its line.
// Nothing traps, and the host stops nothing.
func (l *Language) TooDeep(t *testing.T, all []Deep) {
	t.Helper()
	var handlers []Handler
	for i, one := range all {
		handlers = append(handlers, Handler{Name: fmt.Sprintf("deep%d", i), Script: one[1], TOML: `event_timeout = "1m"`})
	}
	h, log := l.Serve(t, handlers...)
	for i, one := range all {
		t.Run(one[0], func(t *testing.T) {
			name := handlers[i].Name
			c := Dial(t, h, name)
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(5 * time.Minute))
			_, _ = fmt.Fprintln(c, "hello")
			_, _ = io.Copy(io.Discard, c) // its end may be a reset
			failed := func() []string {
				return linesWith(strings.Join(linesWith(log.String(), " listener="+name+" "), ""), " level=ERROR ")
			}
			hosttest.Eventually(t, "the log says why", func() bool { return len(failed()) > 0 })
			said := strings.Join(failed(), "")
			if n := len(failed()); n != 1 || !strings.Contains(said, `msg="handler says"`) {
				t.Errorf("it is told in %d messages:\n%s", n, said)
			}
			for _, part := range one[2:] {
				if part = strings.ReplaceAll(part, "FILE", name+l.Extension); !strings.Contains(said, part) {
					t.Errorf("%q is missing in:\n%s", part, said)
				}
			}
		})
	}
}
