package enginetest

import (
	"fmt"
	"io"
	"testing"

	"bulkhead/csa"
	"bulkhead/host"
	"bulkhead/internal/hosttest"
)

// failure is a way in which a connection of a script ends, with the cause of that, and how many
// errors the host counts. Its client says "hello", and then that it has finished.
type failure struct {
	name    string
	scripts by
	cause   csa.Cause
	errors  int64
}

var failures = []failure{
	{"open throws", by{
		".js":  "export default { open() { throw Error('no') }, line() {} };",
		".lua": "return { open = function() error('no') end, line = function() end }",
		".py":  "def open(c): raise ValueError('no')\ndef line(c, text): pass\n",
	}, csa.HandlerFailed, 1},
	{"line throws", by{
		".js":  "export default { line(c) { throw Error('no') } };",
		".lua": "return { line = function() error('no') end }",
		".py":  "def line(c, text): raise ValueError('no')\n",
	}, csa.HandlerFailed, 1},
	{"data answers what it cannot", by{
		".js":  "export default { data() { return -1 } };",
		".lua": "return { data = function() return -1 end }",
		".py":  "def data(c, b): return -1\n",
	}, csa.HandlerFailed, 1},
	{"eof throws", by{
		".js":  "export default { line() {}, eof() { throw Error('no') } };",
		".lua": "return { line = function() end, eof = function() error('no') end }",
		".py":  "def line(c, text): pass\ndef eof(c): raise ValueError('no')\n",
	}, csa.HandlerFailed, 1},
	{"it throws later", by{
		".js":  "export default { line(c) { setTimeout(() => { throw Error('no') }, 1) }, eof() {} };",
		".lua": "return { line = function() after(1, function() error('no') end) end, eof = function() end }",
		".py":  "def bad(): raise ValueError('no')\ndef line(c, text): after(1, bad)\ndef eof(c): pass\n",
	}, csa.HandlerFailed, 1},
	{"it waits, and then throws", by{
		".js":  "export default { async line(c) { await sleep(1); throw Error('no') }, eof() {} };",
		".lua": "return { line = function() sleep(1) error('no') end, eof = function() end }",
		".py":  "async def line(c, text):\n await sleep(1)\n raise ValueError('no')\ndef eof(c): pass\n",
	}, csa.HandlerFailed, 1},
	{"it closes, and then throws", by{
		".js":  "export default { line(c) { c.abort(); throw Error('no') } };",
		".lua": "return { line = function(c) c:abort() error('no') end }",
		".py":  "def line(c, text):\n c.abort()\n raise ValueError('no')\n",
	}, csa.HandlerEnded, 1},
	{"closed throws", by{
		".js":  "export default { line(c) { c.abort() }, closed() { throw Error('no') } };",
		".lua": "return { line = function(c) c:abort() end, closed = function() error('no') end }",
		".py":  "def line(c, text): c.abort()\ndef closed(c, why): raise ValueError('no')\n",
	}, csa.HandlerEnded, 1},
	{"nothing throws", by{
		".js":  "export default { line(c) { try { throw Error('no') } catch { c.abort() } } };",
		".lua": "return { line = function(c) pcall(error, 'no') c:abort() end }",
		".py":  "def line(c, text):\n try:\n  raise ValueError('no')\n except ValueError:\n  c.abort()\n",
	}, csa.HandlerEnded, 0},
	{"open refuses", by{
		".js":  "export default { open() { return false }, line() {} };",
		".lua": "return { open = function() return false end, line = function() end }",
		".py":  "def open(c): return False\ndef line(c, text): pass\n",
	}, csa.HandlerRefused, 0},
	{"the peer's line is too long", by{
		".js":  "export default { lineLimit: 3, line() {} };",
		".lua": "return { line_limit = 3, line = function() end }",
		".py":  "line_limit = 3\ndef line(c, text): pass\n",
	}, csa.HandlerRefused, 0},
	{"the peer's frame is too long", by{
		".js":  "export default { frameLength: { bytes: 1 }, frameLimit: 10, frame() {} };",
		".lua": "return { frame_length = { bytes = 1 }, frame_limit = 10, frame = function() end }",
		".py":  "frame_length = {'bytes': 1}\nframe_limit = 10\ndef frame(c, b): pass\n",
	}, csa.HandlerRefused, 0},
}

// Failures checks how connections end by what scripts do not catch, and what is counted.
func (l *Language) Failures(t *testing.T) {
	var handlers []Handler
	for i, f := range failures {
		handlers = append(handlers, Handler{Name: fmt.Sprintf("failure%d", i), Script: f.scripts[l.Extension]})
	}
	h, _ := l.Serve(t, handlers...)
	for i, f := range failures {
		t.Run(f.name, func(t *testing.T) {
			name := handlers[i].Name
			c := Dial(t, h, name)
			_, _ = io.WriteString(c, "hello\n") // it may have closed already
			_ = c.CloseWrite()
			Gone(t, c)
			var st host.ListenerStats
			hosttest.Eventually(t, "it is closed, and all is counted", func() bool {
				for _, one := range h.Stats().Listeners {
					if one.Name == name {
						st = one
					}
				}
				return len(st.Ended) > 0 && st.HandlerErrors >= f.errors
			})
			if st.HandlerErrors != f.errors || st.Ended[f.cause.Info().Name] != 1 || len(st.Ended) != 1 || st.Traps+st.LimitStops+st.StartFailures != 0 {
				t.Errorf("%d errors are counted, and ends %v; want %d, and one %s", st.HandlerErrors, st.Ended, f.errors, f.cause.Info().Name)
			}
		})
	}
}
