package js_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"bulkhead/engines/internal/enginetest"
	"bulkhead/engines/js"
	"bulkhead/internal/hosttest"
)

// ofTheLanguage are the globals that QuickJS has by itself.
var ofTheLanguage = strings.Fields(`
	AggregateError Array ArrayBuffer Atomics BigInt BigInt64Array BigUint64Array Boolean DataView Date
	Error EvalError FinalizationRegistry Float16Array Float32Array Float64Array Function Infinity Int16Array
	Int32Array Int8Array InternalError Iterator JSON Map Math NaN Number Object Promise Proxy RangeError
	ReferenceError Reflect RegExp Set SharedArrayBuffer String Symbol SyntaxError TypeError URIError
	Uint16Array Uint32Array Uint8Array Uint8ClampedArray WeakMap WeakRef WeakSet decodeURI
	decodeURIComponent encodeURI encodeURIComponent escape eval globalThis isFinite isNaN parseFloat
	parseInt undefined unescape`)

var (
	global    = regexp.MustCompile(`(?m)^declare (?:function|const|class) (\w+)(?:: (\w+))?`)
	shape     = regexp.MustCompile(`(?ms)^(?:interface|declare class) (\w+).*?\{$(.*?)^\}`)
	member    = regexp.MustCompile(`(?m)^  (?:readonly )?(\w+)\??[(:]`)
	callbacks = regexp.MustCompile(`(?m)^  (\w+)\?\(`)
	codes     = regexp.MustCompile(`"([A-Z_]+)"`)
)

func sorted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

func firsts(matches [][]string) (names []string) {
	for _, m := range matches {
		names = append(names, m[1])
	}
	return sorted(names)
}

// bulkhead.d.ts declares what the engine has, and nothing else: globals, their methods, the
// connection, and the functions that a handler may have.
func TestTypesAreThoseOfTheEngine(t *testing.T) {
	types := js.Types()
	members := map[string][]string{}
	for _, m := range shape.FindAllStringSubmatch(types, -1) {
		members[m[1]] = firsts(member.FindAllStringSubmatch(m[2], -1))
	}
	h, _ := scripts.Serve(t, enginetest.Handler{Name: "names", Script: `
		const own = (o) => Object.getOwnPropertyNames(o);
		const methods = (o) => own(o).filter((n) => !["length", "name", "prototype", "constructor"].includes(n));
		export default { line(c) {
			c.send(JSON.stringify({
				globals: own(globalThis), log: methods(log), Hash: methods(Hash.prototype),
				connection: methods(Object.getPrototypeOf(c)),
				objects: Object.fromEntries(["base64", "hex", "crc", "hash", "hmac"].map((n) => [n, methods(globalThis[n])])),
			}) + "\n");
		} };`})
	c := enginetest.Dial(t, h, "names")
	hosttest.Say(t, c, "\n")
	line, err := bufio.NewReader(c).ReadBytes('\n')
	var engine struct {
		Globals, Log, Hash, Connection []string
		Objects                        map[string][]string
	}
	if err == nil {
		err = json.Unmarshal(line, &engine)
	}
	if err != nil {
		t.Fatalf("%v: %q", err, line)
	}
	same := func(what string, declared, has []string) {
		t.Helper()
		if declared, has = sorted(declared), sorted(has); !slices.Equal(declared, has) {
			t.Errorf("%s: bulkhead.d.ts declares\n%q, and the engine has\n%q", what, declared, has)
		}
	}
	declared := global.FindAllStringSubmatch(types, -1)
	same("globals", firsts(declared), slices.DeleteFunc(engine.Globals, func(n string) bool { return slices.Contains(ofTheLanguage, n) }))
	same("log", members["Log"], engine.Log)
	same("Hash", slices.DeleteFunc(members["Hash"], func(n string) bool { return n == "constructor" }), engine.Hash)
	same("the connection", members["BasicConnection"], engine.Connection)
	for _, d := range declared {
		if has, ok := engine.Objects[d[1]]; ok {
			same(d[1], members[d[2]], has)
			delete(engine.Objects, d[1])
		}
	}
	if len(engine.Objects) > 0 {
		t.Errorf("of %q it does not say what they are", engine.Objects)
	}

	source, err := os.ReadFile("src/connection.c")
	if err != nil {
		t.Fatal(err)
	}
	_, called, _ := strings.Cut(string(source), "functions that are called: \"")
	called, _, _ = strings.Cut(called, ");")
	handler := shape.FindAllStringSubmatch(types, -1)
	for _, m := range handler {
		if m[1] != "Handler" {
			continue
		}
		same("functions of a handler", firsts(callbacks.FindAllStringSubmatch(m[2], -1)), regexp.MustCompile(`[a-z]+`).FindAllString(called, -1))
		for _, key := range members["Handler"] {
			if !strings.Contains(string(source), fmt.Sprintf("%q", key)) {
				t.Errorf("the engine reads no %s of a handler", key)
			}
		}
	}

	source, err = os.ReadFile("../guest/link.c")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(source), "codes[] = {")
	table, _, _ = strings.Cut(table, "};")
	_, union, _ := strings.Cut(types, "type Code =")
	union, _, _ = strings.Cut(union, ";")
	same("codes", firsts(codes.FindAllStringSubmatch(union, -1)), firsts(codes.FindAllStringSubmatch(table, -1)))
}

// A script uses all that bulkhead.d.ts declares, and it works.
func TestTypesAreUsed(t *testing.T) {
	script, err := os.ReadFile("testdata/api.ts")
	if err != nil {
		t.Fatal(err)
	}
	h, log := inTypeScript.Serve(t, enginetest.Handler{Name: "api", Script: string(script), TOML: "config = { list = [1] }"})
	c := enginetest.Dial(t, h, "api")
	hosttest.Say(t, c, "hello\n")
	hosttest.Hear(t, c, "ok\n")
	hosttest.HearEnd(t, c)
	c.Close()
	log.Wait(t, "hello OK")
}

// The script that uses all, and the examples in TypeScript, have the types that bulkhead.d.ts
// declares. .ci/run has a tsc.
func TestTypesAreChecked(t *testing.T) {
	tsc, err := exec.LookPath("tsc")
	if err != nil {
		t.Skip("there is no tsc; npm install -g typescript")
	}
	for _, project := range []string{"testdata/tsconfig.json", "../../examples/tsconfig.json"} {
		if out, err := exec.Command(tsc, "-p", project).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", project, err, out)
		}
	}
}
