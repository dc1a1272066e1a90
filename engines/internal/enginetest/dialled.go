package enginetest

import (
	"fmt"
	"testing"

	"bulkhead/internal/hosttest"
)

// dialling dials a listener whose handler says who its peer is, and answers with what both ends say
// of each other. Then the one that was dialled fails.
var dialling = by{
	".js": `export default { async line(c) {
		const up = await dial(config.up, {
			open(up) { c.opened = up.peer; },
			line(up, text) { c.send([c.opened, up.peer, up.local, text].join(" ") + "\n"); null.x; },
			closed(up) { log("closed", up.peer); },
		});
		up.send("hello\n");
	} };`,
	".lua": `return { line = function(c)
		local up = assert(dial(config.up, {
			open = function(up) c.opened = up.peer end,
			line = function(up, text) c:send(table.concat({c.opened, up.peer, up.local_address, text}, " ") .. "\n") local x x.y = 1 end,
			closed = function(up) log("closed " .. up.peer) end,
		}))
		up:send("hello\n")
	end }`,
	".py": `
class Up:
    def __init__(self, c): self.c = c
    def open(self, up): self.opened = up.peer
    def line(self, up, text):
        self.c.send(" ".join([self.opened, up.peer, up.local_address, text]) + "\n")
        None.x
    def closed(self, up, why): log("closed " + up.peer)
async def line(c, text):
    up = await dial(config["up"], Up(c))
    up.send("hello\n")
`,
}

var dialled = by{
	".js":  `export default { line(c) { c.send(c.peer + " " + c.local + "\n"); } };`,
	".lua": `return { line = function(c) c:send(c.peer .. " " .. c.local_address .. "\n") end }`,
	".py":  "def line(c, text): c.send(c.peer + ' ' + c.local_address + '\\n')\n",
}

// Dialled checks that a script knows the peer of a connection that it has dialled, from when it is
// open until it has ended, and that the log names it where the script fails.
func (l *Language) Dialled(t *testing.T) {
	server, _ := l.Serve(t, Handler{Name: "server", Script: dialled[l.Extension]})
	address := server.Addr("server")
	h, log := l.Serve(t, Handler{Name: "client", Script: dialling[l.Extension], TOML: fmt.Sprintf("[listener.config]\nup = \"tcp://%s\"", address)})
	c := Dial(t, h, "client")
	hosttest.Say(t, c, "go\n")
	opened, peer, local, itsPeer, itsLocal := "", "", "", "", ""
	if _, err := fmt.Fscan(c, &opened, &peer, &local, &itsPeer, &itsLocal); err != nil {
		t.Fatal(err)
	}
	if opened != address || peer != address || itsLocal != address || local != itsPeer {
		t.Errorf("the peer of what was dialled is %q in open, and then %q, and of the other end it is %q; they are at %q and %q", opened, peer, itsPeer, local, itsLocal)
	}
	log.Wait(t, "level=ERROR", "line of "+address+":", "client"+l.Extension)
	log.Wait(t, "closed "+address)
}
