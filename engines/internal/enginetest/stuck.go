package enginetest

import (
	"strings"
	"testing"

	"bulkhead/internal/hosttest"
)

var patient = by{
	".js": `export default { data(c, b) {
		if (b.length < 65536) return 0; // until all is there
		if (c.waited) { c.send("all\n"); return; }
		c.waited = true;
		c.pause();
		c.timer(1, 1);
		return 0;
	}, timer(c) { c.resume(); } };`,
	".lua": `return { data = function(c, b)
		if #b < 65536 then return 0 end -- until all is there
		if c.waited then c:send("all\n") return end
		c.waited = true
		c:pause()
		c:timer(1, 1)
		return 0
	end, timer = function(c) c:resume() end }`,
	".py": `
waited = False
def data(c, b):
    global waited
    if len(b) < 65536: return 0 # until all is there
    if waited:
        c.send("all\n")
        return
    waited = True
    c.pause()
    c.timer(1, 1)
    return 0
def timer(c, token): c.resume()
`,
}

var stuck = by{
	".js":  "export default {\n data(c, b) { return 0; } };",
	".lua": "return {\n data = function(c, b) return 0 end }",
	".py":  "\ndef data(c, b): return 0\n",
}

// Stuck checks that the log says once of a connection that its handler has consumed nothing of all
// that there is room for, which leaves it with nothing to hear for ever, and where that handler is;
// and that it says nothing of one that has paused.
func (l *Language) Stuck(t *testing.T) {
	h, log := l.Serve(t, Handler{Name: "stuck", Script: stuck[l.Extension]}, Handler{Name: "patient", Script: patient[l.Extension]})
	c := Dial(t, h, "patient")
	hosttest.Say(t, c, strings.Repeat("x", 65536))
	hosttest.Hear(t, c, "all\n")
	c = Dial(t, h, "stuck")
	hosttest.Say(t, c, strings.Repeat("x", 65536))
	log.Wait(t, "level=WARN", "data of 127.0.0.1:", "it has consumed none of 65536 bytes, and there is no room for more",
		"return how many it has consumed, or nothing for all of them, at data (stuck"+l.Extension+":2")
	if n := strings.Count(log.String(), "consumed none of"); n != 1 {
		t.Errorf("it is said %d times", n)
	}
}
