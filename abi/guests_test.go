package abi

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// The guests that are shipped import and export what the table says, with the
// signatures of the table.
func TestShippedGuestsKeepTheContract(t *testing.T) {
	for _, name := range []string{"echo/echo.wasm", "chat/chat.wasm"} {
		bin, err := os.ReadFile(filepath.Join("..", "examples", name))
		if err != nil {
			t.Fatal(err)
		}
		g, err := readGuest(bin)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, i := range g.imports {
			if i.module == "wasi_snapshot_preview1" && name != "echo/echo.wasm" {
				continue
			}
			if i.module != Module || !hasFunction(i.name, i.signature) {
				t.Errorf("%s imports %s.%s%s, which is not in the table", name, i.module, i.name, i.signature)
			}
		}
		for _, e := range GuestExports {
			got, ok := g.exports[e.Name]
			delete(g.exports, e.Name)
			if !ok && !e.Required {
				continue
			}
			if want := signatureOf(&e.Function); got != want {
				t.Errorf("%s exports %s as %q, want %q", name, e.Name, got, want)
			}
		}
		if g.exports[Memory] != "memory" {
			t.Errorf("%s does not export its memory", name)
		}
		delete(g.exports, Memory)
		delete(g.exports, "_initialize")
		if len(g.exports) != 0 {
			t.Errorf("%s exports %v as well, which is not in the table", name, g.exports)
		}
	}
}

func hasFunction(name, signature string) bool {
	for i := range HostFunctions {
		if f := &HostFunctions[i]; f.Name == name && f.Built {
			return signatureOf(&f.Function) == signature
		}
	}
	return false
}

func signatureOf(f *Function) string {
	var params, results []string
	for _, p := range f.Params {
		params = append(params, p.Type.String())
	}
	for _, r := range f.Results {
		results = append(results, r.String())
	}
	return fmt.Sprint(params, results)
}

type guest struct {
	imports []imported
	exports map[string]string // name -> signature, or what else it is
}

type imported struct{ module, name, signature string }

// readGuest reads the types, imports, functions and exports of a module. It is
// for modules that we have built ourselves; anything odd is an error.
func readGuest(bin []byte) (g guest, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("not a module: %v", r)
		}
	}()
	bin, ok := bytes.CutPrefix(bin, []byte("\x00asm\x01\x00\x00\x00"))
	if !ok {
		return g, fmt.Errorf("not a module")
	}
	g.exports = make(map[string]string)
	var types, functions []string
	for len(bin) > 0 {
		id := bin[0]
		bin = bin[1:]
		size := number(&bin)
		p := bin[:size]
		bin = bin[size:]
		switch id {
		case 1:
			for range number(&p) {
				p = p[1:] // 0x60, a function
				types = append(types, fmt.Sprint(valueTypes(&p), valueTypes(&p)))
			}
		case 2:
			for range number(&p) {
				module, name := text(&p), text(&p)
				if p[0] != 0 {
					return g, fmt.Errorf("it imports %s.%s, which is no function", module, name)
				}
				p = p[1:]
				signature := types[number(&p)]
				functions = append(functions, signature)
				g.imports = append(g.imports, imported{module, name, signature})
			}
		case 3:
			for range number(&p) {
				functions = append(functions, types[number(&p)])
			}
		case 7:
			for range number(&p) {
				name, kind := text(&p), p[0]
				p = p[1:]
				index := number(&p)
				switch kind {
				case 0:
					g.exports[name] = functions[index]
				case 2:
					g.exports[name] = "memory"
				default:
					g.exports[name] = fmt.Sprint("kind ", kind)
				}
			}
		}
	}
	return g, nil
}

func number(p *[]byte) uint64 {
	v, n := binary.Uvarint(*p)
	*p = (*p)[n:]
	return v
}

func text(p *[]byte) string {
	n := number(p)
	s := string((*p)[:n])
	*p = (*p)[n:]
	return s
}

func valueTypes(p *[]byte) []string {
	names := map[byte]string{0x7f: I32.String(), 0x7e: I64.String()}
	out := []string{}
	for _, b := range []byte(text(p)) {
		name := names[b]
		if name == "" {
			name = fmt.Sprintf("%#x", b)
		}
		out = append(out, name)
	}
	return out
}
