package metertest

import (
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero/api"

	"bulkhead/plugins/exceptions"
	"bulkhead/plugins/meter"
	"bulkhead/plugins/wasm"
)

// lowered is what the engine gets to compile for a module with exceptions.
func lowered(b []byte) (*meter.Metered, *exceptions.Lowered, error) {
	m, err := wasm.Parse(b)
	if err != nil {
		return nil, nil, err
	}
	l, err := exceptions.Lower(m, exceptions.Options{})
	if err != nil {
		return nil, nil, err
	}
	out, err := meter.Rewrite(l.Module, meter.Options{Exports: l.Exports()})
	return out, l, err
}

// refusedExceptions are valid modules of the suite of exceptions that are refused, and why.
var refusedExceptions = map[string]string{
	"tag.1.wasm":        "is a tag, and the host has none to give",
	"tag.5.wasm":        "form 0x4e",
	"tag.4.wasm":        "form 0x4e",
	"try_table.13.wasm": "typed function references",
}

// leftOut are calls whose outcome is that of tail calls, which [withoutImports] has made plain
// ones: what a callee throws is caught where it would not have been.
var leftOut = map[string]bool{"return-call-in-try-catch": true, "return-call-indirect-in-try-catch": true}

// exceptionScripts counts what a suite of exceptions has had.
type exceptionScripts struct{ modules, calls, uncaught, invalid, refused int }

// TestExceptionSuite runs the suite of the proposal for exceptions, rewritten, metered, in both
// engines.
func TestExceptionSuite(t *testing.T) {
	root, err := suiteDir()
	if err != nil {
		t.Fatal(err)
	}
	var seen exceptionScripts
	for _, name := range []string{"tag", "throw", "throw_ref", "try_table"} {
		seen.run(t, filepath.Join(root, "exception-handling", "testdata", name+".json"))
	}
	t.Logf("%+v", seen)
	if seen.modules < 12 || seen.calls < 90 || seen.uncaught < 20 || seen.invalid < 20 {
		t.Errorf("there were fewer than there used to be: %+v", seen)
	}
}

var legacySuite = flag.String("legacy", "", "a folder with more scripts of legacy exceptions, as wast2json makes them")

// TestLegacyExceptionSuite runs scripts of exceptions in the legacy encoding, which the suites have
// none of any more: what its text says of try, catch, catch_all, delegate and rethrow.
// testdata/legacy/build.sh makes them, and holds them against an engine that has this encoding.
func TestLegacyExceptionSuite(t *testing.T) {
	var seen exceptionScripts
	for _, dir := range []string{filepath.Join("testdata", "legacy"), *legacySuite} {
		if dir == "" {
			continue
		}
		scripts, err := filepath.Glob(filepath.Join(dir, "*.json"))
		if err != nil || len(scripts) == 0 {
			t.Fatalf("find scripts in %s: %d, %v", dir, len(scripts), err)
		}
		for _, script := range scripts {
			seen.run(t, script)
		}
	}
	t.Logf("%+v", seen)
	if seen.modules < 8 || seen.calls < 280 || seen.uncaught < 50 || seen.invalid < 50 {
		t.Errorf("there were fewer than there used to be: %+v", seen)
	}
}

// run runs one script, rewritten, metered, in both engines.
func (seen *exceptionScripts) run(t *testing.T, path string) {
	t.Helper()
	dir, name := filepath.Dir(path), strings.TrimSuffix(filepath.Base(path), ".json")
	s, err := readScript(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range engines(t) {
		w := newWorld(e, "rewritten", large)
		ctx := w.context(t.Context())
		var current api.Module
		var of *exceptions.Lowered
		for i := range s.Commands {
			c := &s.Commands[i]
			where := fmt.Sprintf("%s, line %d, %s", name, c.Line, w.name)
			var b []byte
			if c.Filename != "" && c.ModuleType != "text" {
				if b, err = os.ReadFile(filepath.Join(dir, c.Filename)); err != nil {
					t.Fatal(err)
				}
			}
			switch c.Type {
			case "module":
				current = nil
				out, l, err := lowered(withoutImports(t, b))
				if why := refusedExceptions[c.Filename]; why != "" {
					if err == nil || !strings.Contains(err.Error(), why) {
						t.Errorf("%s: %v, and it has to be refused: %s", where, err, why)
					}
					seen.refused++
					continue
				}
				if err != nil {
					t.Fatalf("%s: %s: %v", where, c.Filename, err)
				}
				code, err := e.runtime.CompileModule(ctx, out.Code)
				if err != nil {
					t.Fatalf("%s: %s: %v", where, c.Filename, err)
				}
				t.Cleanup(func() { code.Close(context.Background()) })
				if current, err = w.instantiate(ctx, &program{metered: code, start: out.Start}); err != nil {
					t.Fatalf("%s: %v", where, err)
				}
				of = l
				seen.modules++
			case "register", "assert_malformed", "assert_unlinkable":
			case "assert_invalid":
				if out, _, err := lowered(b); err == nil {
					t.Errorf("%s: %s is not refused: %s\n%x", where, c.Filename, c.Text, out.Code)
				}
				seen.invalid++
			case "action", "assert_return", "assert_trap", "assert_exception":
				if current == nil || leftOut[c.Action.Field] {
					continue
				}
				var args []uint64
				for _, v := range c.Action.Args {
					words, err := v.stack()
					if err != nil {
						t.Fatal(err)
					}
					args = append(args, words...)
				}
				o, err := w.call(ctx, current, c.Action.Field, args)
				if err != nil {
					t.Fatalf("%s: %v", where, err)
				}
				flight := current.ExportedGlobal(exceptions.FlightExport).Get()
				current.ExportedGlobal(exceptions.FlightExport).(api.MutableGlobal).Set(0)
				seen.calls++
				switch {
				case c.Type == "assert_exception":
					seen.uncaught++
					if o.trap == nil || o.trap.Error() != "unreachable" || flight == 0 || flight > uint64(len(of.Tags)) {
						t.Errorf("%s: %s(%x): %v with %d under way, want an uncaught exception", where, c.Action.Field, args, o, flight)
					}
				case flight != 0:
					t.Errorf("%s: %s(%x): %v with %d under way, want none", where, c.Action.Field, args, o, flight)
				case c.Type == "assert_trap":
					if o.trap == nil || o.trap.Error() != c.Text {
						t.Errorf("%s: %s(%x): %v, want %q", where, c.Action.Field, args, o, c.Text)
					}
				default:
					rest, ok := o.results, o.trap == nil
					for _, v := range c.Expected {
						var matched bool
						if rest, matched, err = v.match(rest); err != nil {
							t.Fatalf("%s: %v", where, err)
						}
						ok = ok && matched
					}
					if !ok || len(rest) > 0 {
						t.Errorf("%s: %s(%x): %v, want %v", where, c.Action.Field, args, o, c.Expected)
					}
				}
			default:
				t.Fatalf("%s: the unknown command %q", where, c.Type)
			}
		}
	}
}

// withoutImports makes of try_table.1.wasm and try_table.2.wasm, which import two tags, or none,
// and a function that throws the first, ones that have these themselves; and plain calls of tail
// calls. Two tags that are imported are one by two names. Other modules are left as they are.
func withoutImports(t *testing.T, b []byte) []byte {
	const importSection, functionSection, tagSection, codeSection = 2, 3, 13, 10
	if !bytes.Contains(b, []byte("\x04test\x05throw")) {
		return b
	}
	alias := bytes.Contains(b, []byte("\x04test\x02e0"))
	out := bytes.Clone(b[:8])
	section := func(id byte, content []byte) {
		out = append(binary.AppendUvarint(append(out, id), uint64(len(content))), content...)
	}
	var throwType []byte
	for at := 8; at < len(b); {
		id := b[at]
		n, k := binary.Uvarint(b[at+1:])
		content := b[at+1+k : at+1+k+int(n)]
		at += 1 + k + int(n)
		switch id {
		case importSection:
			i := bytes.Index(content, []byte("\x05throw\x00"))
			throwType = bytes.Clone(content[i+7 : i+8])
			continue
		case functionSection:
			content = append([]byte{content[0] + 1}, append(bytes.Clone(throwType), content[1:]...)...)
		case tagSection:
			// The tag that is thrown stands in front where it was imported, and behind where it was
			// not.
			tag := append([]byte{0}, throwType...)
			if alias {
				content = append(append([]byte{content[0] + 2}, append(tag, tag...)...), content[1:]...)
			} else {
				content = append(append([]byte{content[0] + 1}, content[1:]...), tag...)
			}
		case codeSection:
			r := content[1:]
			thrown := byte(1)
			if alias {
				thrown = 0
			}
			content = append([]byte{content[0] + 1}, 4, 0, 0x08, thrown, 0x0b)
			for len(r) > 0 {
				n, k := binary.Uvarint(r)
				body := bytes.Clone(r[k : k+int(n)])
				r = r[k+int(n):]
				for i := 0; i+3 < len(body); i++ {
					switch {
					case body[i] == 0x12 && body[i+2] == 0x0b:
						body = append(body[:i:i], append([]byte{0x10, body[i+1], 0x0f}, body[i+2:]...)...)
					case body[i] == 0x13 && body[i+2] == 0 && body[i+3] == 0x0b:
						body = append(body[:i:i], append([]byte{0x11, body[i+1], 0, 0x0f}, body[i+3:]...)...)
					case alias && body[i] == 0x08 && body[i+1] == 1: // the second name of the first
						body[i+1] = 0
					}
				}
				content = append(binary.AppendUvarint(content, uint64(len(body))), body...)
			}
		}
		section(id, content)
	}
	return out
}
