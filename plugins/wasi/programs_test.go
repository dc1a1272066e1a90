package wasi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/internal/wasmtest"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"
)

// program is a fake system whose memory is a program's.
type program struct {
	fake
	module api.Module
}

func (p *program) Memory() []byte {
	b, _ := p.module.Memory().Read(0, p.module.Memory().Size())
	return b
}

// runProgram runs a program to its end, and gives what it wrote, and what was called.
func runProgram(t *testing.T, file string, folder *Folder, args ...string) (out, calls string) {
	t.Helper()
	code, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer r.Close(ctx)
	s := &program{fake: fake{ready: Readable | Writable}}
	p := &Process{System: s, Args: append([]string{"program"}, args...), Folder: folder}
	var trace strings.Builder
	host := r.NewHostModuleBuilder(Module)
	for _, f := range Functions() {
		host.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, m api.Module, stack []uint64) {
			s.module = m
			poison(f, stack)
			f.Call(p, stack)
			if len(f.Results) > 0 {
				fmt.Fprintf(&trace, "%s=%d ", f.Name, stack[0])
			}
		}), types(f.Params), types(f.Results)).Export(f.Name)
	}
	if _, err := host.Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	_, err = r.InstantiateWithConfig(ctx, code, wazero.NewModuleConfig())
	var exit *sys.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 0) {
		t.Errorf("%s %s: %v, %s", filepath.Base(filepath.Dir(file)), strings.Join(args, " "), err, s.written[2])
	}
	return string(s.written[1]), trace.String()
}

// What C, Rust, Zig and TinyGo make of the calls is what their programs expect.
func TestProgramsOfOtherCompilers(t *testing.T) {
	folder, err := ReadFolder(writeFolder(t, map[string]string{"-": "", "a.txt": "hello", "sub/b": "x", "link": "->a.txt", "down": "->sub"}), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, language := range []string{"zig-cc", "cargo-wasi", "zig", "tinygo"} {
		file, err := wasmtest.ProgramOf(language)
		if err != nil {
			t.Fatal(err)
		}
		for of, want := range map[string]string{".": "- a.txt down link sub", "sub": "b", "down": "b"} {
			t.Run(language+" ls "+of, func(t *testing.T) {
				out, calls := runProgram(t, file, folder, "ls", of)
				var names []string
				for _, line := range strings.Fields(out) {
					if name := path.Base(line); name != "." && name != ".." {
						names = append(names, name)
					}
				}
				if strings.Join(names, " ") != want {
					t.Errorf("it writes %q, want %q; it called %s", out, want, calls)
				}
			})
		}
	}
}
