package browsertest

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/security"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// serveSockets serves an example over ws and wss to pages from files, and over ws to pages of
// another site. It returns the addresses of the listeners ws, wss and others, as pages write them.
func serveSockets(t *testing.T, example string) (address map[string]string) {
	t.Helper()
	module, err := os.ReadFile(filepath.Join("..", "..", "..", "examples", example, example+".wasm"))
	if err != nil {
		t.Fatal(err)
	}
	toml := "[tenant.acme]\nmemory = \"512MiB\"\n"
	for _, l := range []struct{ name, scheme, origin string }{{"ws", "ws", "null"}, {"wss", "wss", "null"}, {"others", "ws", "https://app.test"}} {
		toml += fmt.Sprintf("[[listener]]\nname = %q\ntenant = \"acme\"\naddress = \"%s://127.0.0.1:0/it\"\nplugin = \"it.wasm\"\ninstance = \"listener\"\norigins = [%q]\n", l.name, l.scheme, l.origin)
	}
	toml = strings.Replace(toml, "name = \"wss\"", "tls = { self_signed = [\"127.0.0.1\"] }\nname = \"wss\"", 1)
	return serve(t, toml, map[string][]byte{"it.wasm": module}).address
}

// chatPage is the page of examples/chat, opened as a file, that connects to an address.
func chatPage(t *testing.T, address string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "..", "examples", "chat", "chat.html"))
	if err != nil {
		t.Fatal(err)
	}
	return "file://" + path + "?server=" + url.QueryEscape(address)
}

// says types a line into the chat's page and sends it.
func (b *browser) says(line string) {
	b.t.Helper()
	b.do(chromedp.SendKeys("#line", line+kb.Enter, chromedp.ByID))
}

// trusts has the browser take certificates that nobody has signed.
func (b *browser) trusts() { b.do(security.SetIgnoreCertificateErrors(true)) }

// Two people open the chat's page and talk, over ws and over wss. What they say is text, and the
// page says how its connection is.
func TestChatPage(t *testing.T) {
	address := serveSockets(t, "chat")
	ann, bob := open(t, "about:blank", 800, 600), open(t, "about:blank", 375, 700)
	ann.trusts()
	bob.trusts()
	for _, scheme := range []string{"ws", "wss"} {
		page := chatPage(t, address[scheme])
		ann.do(chromedp.Navigate(page))
		ann.sees("#lines", "what is your name?")
		ann.sees("#state", "Connected")
		ann.says("ann")
		ann.sees("#lines", "you are in lobby, with 0 others")
		bob.do(chromedp.Navigate(page))
		bob.sees("#state", "Connected")
		bob.says("bob")
		ann.sees("#lines", "bob joined")
		bob.says("<b>hello</b>, ann: é")
		ann.sees("#lines", "bob: <b>hello</b>, ann: é")
		ann.says("hello, bob")
		bob.sees("#lines .said", "ann: hello, bob")
		bob.sees("#lines .server", "you are in lobby, with 1 other")
		bob.fits()
		ann.shot("chat-" + scheme)
		bob.shot("chat-telephone-" + scheme)
		bob.says("/quit")
		bob.sees("#state", "Closed by the other side (1000)")
		ann.sees("#lines", "bob left")
		ann.do(chromedp.Click("#connect", chromedp.ByID)) // Disconnect
		ann.sees("#connect", "Connect")
	}
	other := chatPage(t, address["others"])
	ann.do(chromedp.Navigate(other))
	ann.sees("#state", "is this page among its origins?")
	if all := strings.Join(ann.said(), " "); !strings.Contains(all, "403") {
		t.Errorf("the browser says %q", all)
	}
}

// exchange is run in a page: it sends messages of all kinds to an echo, and says what came back.
const exchange = `(address) => new Promise((resolve) => {
	const socket = new WebSocket(address);
	socket.binaryType = "arraybuffer";
	const long = "é".repeat(30000);
	const bytes = Uint8Array.from({ length: 65536 }, (_, i) => i & 255);
	const sent = ["hello", "", "\u{1F600}", long, bytes, new Uint8Array(0), bytes.subarray(0, 126)];
	const wrong = [];
	let heard = 0;
	socket.onopen = () => sent.forEach((one) => socket.send(one));
	socket.onmessage = (e) => {
		const want = sent[heard];
		const same = typeof want === "string" ? e.data === want
			: e.data instanceof ArrayBuffer && e.data.byteLength === want.length && new Uint8Array(e.data).every((b, i) => b === want[i]);
		if (!same) wrong.push(heard);
		if (++heard === sent.length) socket.close(4321, "that is all");
	};
	socket.onclose = (e) => resolve({ heard, wrong, code: e.code, clean: e.wasClean, extensions: socket.extensions });
})`

// A page's messages come back from an echo as they are, whatever their kind and length, and the
// close that it begins is answered.
func TestEchoFromPage(t *testing.T) {
	address := serveSockets(t, "echo")
	b := open(t, "about:blank", 800, 600)
	b.trusts()
	b.do(chromedp.Navigate(chatPage(t, "none")))
	for _, scheme := range []string{"ws", "wss"} {
		var all string
		b.do(chromedp.Evaluate("("+exchange+")("+quoted(address[scheme])+").then(JSON.stringify)", &all,
			func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
		var got struct {
			Heard, Code int
			Wrong       []int
			Clean       bool
			Extensions  string
		}
		if err := json.Unmarshal([]byte(all), &got); err != nil {
			t.Fatal(err)
		}
		if got.Heard != 7 || len(got.Wrong) > 0 || got.Code != 4321 || !got.Clean || got.Extensions != "" {
			t.Errorf("over %s a page has %s", scheme, all)
		}
	}
}

func quoted(text string) string {
	b, _ := json.Marshal(text)
	return string(b)
}
