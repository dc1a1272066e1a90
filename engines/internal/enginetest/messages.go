package enginetest

import (
	"fmt"
	"strings"
	"testing"

	"bulkhead/internal/hosttest"
)

// talker sends more than its peer takes, with an empty message, and says how much waits.
var talker = by{
	".js": `export default { line(c, text) {
		c.send([text, c.transport, c.messageType, c.target, c.origin, c.subprotocol].join(" "));
		for (let i = 0; i < 100; i++) c.send(i + " " + "x".repeat(2000));
		c.send("");
		c.send("the last");
		log("enough waits: " + (c.waiting > 50000));
	} };`,
	".lua": `return { line = function(c, text)
		c:send(table.concat({text, c.transport, c.message_type, c.target, c.origin, c.subprotocol}, " "))
		for i = 0, 99 do c:send(i .. " " .. ("x"):rep(2000)) end
		c:send("")
		c:send("the last")
		log("enough waits: " .. tostring(c.waiting > 50000))
	end }`,
	".py": `
def line(c, text):
    c.send(" ".join([text, c.transport, c.message_type, c.target, c.origin, c.subprotocol]))
    for i in range(100): c.send(str(i) + " " + "x" * 2000)
    c.send("")
    c.send("the last")
    log("enough waits: " + ("true" if c.waiting > 50000 else "false"))
`,
}

// Messages checks that each send is a message over WebSocket, also where it has waited for a peer
// that does not read, and that a script is told what is known of the connection.
func (l *Language) Messages(t *testing.T) {
	h, log := l.Serve(t, Handler{Name: "ws", Script: talker[l.Extension], TOML: "inbox = \"4KiB\"\nsend_buffer = \"16KiB\"\norigins = [\"https://app.test\"]\nsubprotocols = [\"mqtt\"]"})
	c := hosttest.DialWebSocket(t, "ws://"+h.Addr("ws")+"/it?room=7", "https://app.test", "mqtt")
	c.Say("hello\n")
	log.Wait(t, "enough waits: true")
	c.Hear("hello ws text /it?room=7 https://app.test mqtt")
	for i := range 100 {
		c.Hear(fmt.Sprint(i, " ") + strings.Repeat("x", 2000))
	}
	c.Hear("")
	c.Hear("the last")
}
