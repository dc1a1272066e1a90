package browsertest

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bulkhead/internal/awaittest"
	w "bulkhead/internal/wasmtest"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

func tick() <-chan time.Time { return time.After(100 * time.Millisecond) }

// browser is a page in Chromium.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu         sync.Mutex
	complaints []string // of the browser: refused by the policy, errors of the script
}

// open has Chromium show an address until the test ends. Whatever it complains of fails the test.
func open(t *testing.T, address string, width, height int64) *browser {
	t.Helper()
	name := ""
	for _, one := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(one); err == nil {
			name = path
			break
		}
	}
	if name == "" {
		t.Fatal("there is no chromium; it is in Debian's package chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(name), chromedp.NoSandbox, chromedp.WSURLReadTimeout(awaittest.Longest))
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(ctx)
	ctx, late := context.WithTimeout(ctx, awaittest.Longest)
	b := &browser{t: t, ctx: ctx}
	chromedp.ListenTarget(ctx, func(event any) {
		switch e := event.(type) {
		case *log.EventEntryAdded:
			b.complain(fmt.Sprintf("%s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL))
		case *runtime.EventExceptionThrown:
			b.complain(e.ExceptionDetails.Error())
		}
	})
	t.Cleanup(func() {
		late()
		cancel()
		stop()
		for _, c := range b.said() {
			t.Errorf("the browser complains: %s", c)
		}
	})
	b.do(log.Enable(), runtime.Enable(), emulation.SetDeviceMetricsOverride(width, height, 1, width < 600), chromedp.Navigate(address))
	return b
}

func (b *browser) complain(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, text)
}

// said takes what the browser has complained of.
func (b *browser) said() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.complaints
	b.complaints = nil
	return all
}

func (b *browser) do(actions ...chromedp.Action) {
	b.t.Helper()
	if err := chromedp.Run(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// text is that of the elements that a selector means, with spaces for all that is white.
func (b *browser) text(selector string) string {
	b.t.Helper()
	var text string
	b.do(chromedp.Evaluate(fmt.Sprintf(`[...document.querySelectorAll(%q)].map((e) => e.innerText).join("\n")`, selector), &text))
	return strings.Join(strings.Fields(text), " ")
}

// number is the value of an expression.
func (b *browser) number(expression string) (n float64) {
	b.t.Helper()
	b.do(chromedp.Evaluate(expression, &n))
	return n
}

// sees waits until elements have texts.
func (b *browser) sees(selector string, texts ...string) {
	b.t.Helper()
	deadline := awaittest.Deadline()
	for {
		text, missing := b.text(selector), ""
		for _, want := range texts {
			if !strings.Contains(text, want) {
				missing = want
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(deadline) || b.ctx.Err() != nil {
			b.t.Fatalf("%s has no %q: %s", selector, missing, text)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// shot leaves what is seen in the folder of screenshots, if there is one, and else only tries.
func (b *browser) shot(name string) {
	b.t.Helper()
	var picture []byte
	b.do(chromedp.CaptureScreenshot(&picture))
	if len(picture) < 5000 {
		b.t.Errorf("the picture %s has %d bytes", name, len(picture))
	}
	if dir := os.Getenv("BULKHEAD_SCREENSHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644); err != nil {
			b.t.Error(err)
		}
	}
}

// fits wants that nothing is wider than the window.
func (b *browser) fits() {
	b.t.Helper()
	if wide := b.number("document.documentElement.scrollWidth - document.documentElement.clientWidth"); wide > 0 {
		b.t.Errorf("the page is %v pixels wider than its window", wide)
	}
}

// dark has the browser prefer dark colours.
func (b *browser) dark() {
	b.do(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}))
}

// The page with one tenant, on a desk, on a telephone and in the dark. Its address is good for one
// browser, and what a configuration names is text.
func TestOneTenant(t *testing.T) {
	d := serve(t, tenants(1), map[string][]byte{"echo.wasm": w.Echo().Bytes()})
	d.calls(t, "l0")
	b := open(t, d.page, 1280, 900)
	b.sees("#link", "Live")
	b.sees("#tenants-rows", "t0")
	b.sees("#listeners-rows", "l0", "tcp://127.0.0.1:")
	b.sees("#connections-rows", "127.0.0.1:")
	b.sees("#summary", "Nothing")
	if hash := b.text("title"); strings.Contains(hash, "once") {
		t.Errorf("the title is %q", hash)
	}
	var left string
	b.do(chromedp.Evaluate("location.hash + location.search", &left))
	if left != "" {
		t.Errorf("the address still has %q", left)
	}
	b.shot("one")
	b.do(chromedp.Reload())
	b.sees("#link", "Live") // it has kept what it was given
	b.do(emulation.SetDeviceMetricsOverride(375, 812, 2, true))
	b.fits()
	b.dark()
	b.shot("one-telephone-dark")

	other := open(t, d.page, 800, 600)
	other.sees("#link", "run bulkhead dash again")
	if all := other.said(); len(all) == 0 || !strings.Contains(strings.Join(all, " "), "401") {
		t.Errorf("the browser says %q", all)
	}
}

// What an operator is woken for, among fifty tenants: which one uses up its CPU, which connection
// holds back whom, and whose handler traps. A connection is closed by keyboard alone.
func TestScenarios(t *testing.T) {
	toml := tenants(47) + `
[tenant.hungry]
cpu = 0.1
[[listener]]
name = "hash"
tenant = "hungry"
address = "tcp://127.0.0.1:0"
plugin = "burn.wasm"
[tenant.crowd]
bandwidth = "64KiB/s"
[[listener]]
name = "files"
tenant = "crowd"
address = "tcp://127.0.0.1:0"
plugin = "echo.wasm"
[tenant.broken]
[[listener]]
name = "parser"
tenant = "broken"
address = "tcp://127.0.0.1:0"
plugin = "trap.wasm"
`
	d := serve(t, toml, map[string][]byte{"echo.wasm": w.Echo().Bytes(), "burn.wasm": burning(2_000_000), "trap.wasm": trapping()})
	d.calls(t, "l3")
	d.calls(t, "hash")
	big := d.dial(t, "files")
	go func() {
		for p := make([]byte, 64<<10); ; {
			if _, err := big.Write(p); err != nil {
				return
			}
		}
	}()
	gone := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, big)
		close(gone)
	}()
	for range 3 {
		d.calls(t, "files")
	}
	d.failsAgain(t, "parser")
	b := open(t, d.page, 1280, 1000)
	b.sees("#findings", "Tenant hungry uses", "of 0.10 cores (cpu)", "uses the most: 0.", "Handlers of parser (tenant broken) fail", "trapped", "holds back", "(tenant crowd")
	b.sees("#tenants-rows tr", "cpu")
	b.sees("#errors-rows", "listener parser", "tenant broken", "unreachable")
	b.shot("scenarios")
	b.do(emulation.SetDeviceMetricsOverride(375, 812, 2, true))
	b.dark()
	b.fits()
	b.shot("scenarios-telephone-dark")

	// By keyboard alone: to the button of the finding, through the dialog, whose first choice is to
	// keep it, and the connection is closed.
	awaittest.Until(t, "the dialog is open", func() bool {
		b.do(chromedp.Evaluate(`[...document.querySelectorAll("#findings li")].find((li) => li.innerText.includes("holds back"))?.querySelector("button.danger").focus()`, nil),
			chromedp.KeyEvent(kb.Enter))
		return b.number(`Number(document.getElementById("ask").open)`) == 1
	})
	b.sees("#ask", "Close connection", "of files (tenant crowd)")
	var focus string
	b.do(chromedp.Evaluate("document.activeElement.id", &focus))
	if focus != "ask-no" {
		t.Errorf("the focus is on %q", focus)
	}
	b.do(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter))
	b.sees("#said", "is closed")
	select {
	case <-gone:
	case <-time.After(awaittest.Longest):
		t.Error("the connection that was to be closed is open")
	}
}

// A reload leaves generations behind, which are seen to drain.
func TestGenerations(t *testing.T) {
	toml := tenants(2)
	d := serve(t, toml, map[string][]byte{"echo.wasm": w.Echo().Bytes(), "other.wasm": burning(1)})
	for range 3 {
		d.calls(t, "l0")
	}
	b := open(t, d.page, 1280, 900)
	b.sees("#generations-rest", "None")
	d.write(t, strings.Replace(toml, "echo.wasm", "other.wasm", 1))
	if out, err := exec.Command(program, "reload", d.file).CombinedOutput(); err != nil {
		t.Fatalf("%s%v", out, err)
	}
	b.sees("#generations-rows", "generation 2: takes new connections", "generation 1: 3 of 3 connections left")
	b.sees("#reload", "Last reload: done")
	const markup = "<img src=x onerror=alert(1)>"
	d.write(t, "\""+markup+"\" = 1\n"+toml)
	if err := exec.Command(program, "reload", d.file).Run(); err == nil {
		t.Fatal("it was reloaded")
	}
	b.sees("#findings", "The last reload failed", markup)
	if n := b.number("document.images.length"); n != 0 { // what a configuration has is text
		t.Errorf("%v pictures are on the page", n)
	}
	b.shot("generations")
}

// A thousand tenants.
func TestManyTenants(t *testing.T) {
	d := serve(t, tenants(1000), map[string][]byte{"echo.wasm": w.Echo().Bytes()})
	for i := range 20 {
		d.calls(t, fmt.Sprint("l", i*50))
	}
	b := open(t, d.page, 1280, 900)
	b.sees("#tenants-rest", "The first 100 of 1,000")
	b.sees("#connections-note", "20 of 20")
	b.do(chromedp.SetValue("#tenants-find", "t77", chromedp.ByID), chromedp.Evaluate(`document.getElementById("tenants-find").dispatchEvent(new Event("input"))`, nil))
	b.sees("#tenants-rows", "t777")
	if n := b.number(`document.querySelectorAll("#tenants-rows > tr").length`); n != 11 {
		t.Errorf("%v tenants have t77 in their name", n)
	}
	b.shot("many")
}
