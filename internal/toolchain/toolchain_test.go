package toolchain

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/plugins/admit"
)

// folder makes a folder with these files.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFind(t *testing.T) {
	for _, c := range []struct {
		files []string
		path  string
		lang  string
		name  string // "": the folder's
	}{
		{[]string{"Cargo.toml", "src/lib.rs"}, "", "Rust", ""},
		{[]string{"asconfig.json", "package.json"}, "", "AssemblyScript", ""},
		{[]string{"go.mod", "a.go", "c.c"}, "", "Go", ""},
		{[]string{"go.mod", "a.go"}, "a.go", "Go", ""},
		{[]string{"a.c", "b.c", "a.h", "notes.txt"}, "", "C", ""},
		{[]string{"a.c"}, "", "C", "a"},
		{[]string{"a.cpp", "b.c"}, "b.c", "C", "b"},
		{[]string{"a.cc"}, "", "C++", "a"},
		{[]string{"a.rs"}, "a.rs", "Rust", "a"},
		{[]string{"asconfig.json", "assembly/index.ts"}, "assembly/index.ts", "AssemblyScript", ""},
		{[]string{"asconfig.json", "assembly/other.ts"}, "assembly/other.ts", "AssemblyScript", "other"},
		{[]string{"bulkhead/exports.ts", "other.ts"}, "other.ts", "AssemblyScript", "other"},
		{[]string{"bulkhead/exports.ts", "index.ts"}, "", "AssemblyScript", ""},
		{[]string{"src/main.zig"}, "", "Zig", ""},
		{[]string{"a.zig"}, "", "Zig", "a"},
	} {
		files := map[string]string{}
		for _, f := range c.files {
			files[f] = ""
		}
		dir := folder(t, files)
		s, err := Find(filepath.Join(dir, c.path))
		if err != nil {
			t.Errorf("%v: %v", c.files, err)
			continue
		}
		if c.name == "" {
			c.name = filepath.Base(dir)
		}
		if s.Language() != c.lang || s.Name() != c.name {
			t.Errorf("%v: %s in %s; want %s in %s", c.files, s.Name(), s.Language(), c.name, c.lang)
		}
	}
}

// compiled builds a folder, and skips the test where the machine has no compiler for it.
func compiled(t *testing.T, files map[string]string) (r admit.Report, said string, err error) {
	t.Helper()
	s, err := Find(folder(t, files))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	module, err := s.Build(t.Context(), &log)
	if missing := (*Missing)(nil); errors.As(err, &missing) {
		t.Skip(err)
	}
	if err != nil {
		return r, log.String(), err
	}
	r, err = admit.Inspect(module, 1<<20)
	return r, log.String(), err
}

func TestC(t *testing.T) {
	r, said, err := compiled(t, map[string]string{
		"a.c": "#include \"csa.h\"\n#include \"b.h\"\nCSA_DEFINE_WINDOW(window, 4096)\nint32_t csa_data(int32_t c, int32_t len) { (void)c; return half(len); }\n",
		"b.h": "#include <stdint.h>\nint32_t half(int32_t n);\n",
		"b.c": "#include \"b.h\"\nint32_t half(int32_t n) { return n / 2; }\n",
	})
	if err != nil || said != "" || r.Shape != admit.Events || len(r.Refused) > 0 || len(r.Imports) > 0 {
		t.Errorf("%+v, %v\n%s", r, err, said)
	}
}

// An optimizer that a clang finds by itself leaves out the lines of the source, so it is not run.
func TestCWithOptimizerOnThePath(t *testing.T) {
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "wasm-opt"), []byte("#!/bin/sh\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	r, said, err := compiled(t, map[string]string{
		"a.c": "#include \"csa.h\"\nCSA_DEFINE_WINDOW(window, 4096)\nint32_t csa_data(int32_t c, int32_t len) { (void)c; return len; }\n",
	})
	if err != nil || said != "" || r.Shape != admit.Events {
		t.Errorf("%+v, %v\n%s", r, err, said)
	}
}

// A C library is linked where a source includes some of it, and main makes a program.
func TestCWithLibrary(t *testing.T) {
	r, said, err := compiled(t, map[string]string{
		"a.c": "#include <string.h>\n#include \"csa.h\"\nCSA_DEFINE_WINDOW(window, 4096)\nint32_t csa_data(int32_t c, int32_t len) { (void)len; return c + (int32_t)strlen((char *)window); }\n",
	})
	if err != nil || said != "" || r.Shape != admit.Events || len(r.Refused) > 0 {
		t.Errorf("%+v, %v\n%s", r, err, said)
	}
	r, said, err = compiled(t, map[string]string{
		"a.c": "#include <stdio.h>\nint main(void) { puts(\"hello\"); }\n",
	})
	if err != nil || said != "" || r.Shape != admit.Stdio || len(r.Refused) > 0 {
		t.Errorf("%+v, %v\n%s", r, err, said)
	}
}

// The headers go with a C++ library, whose containers take their memory from the same place, and
// with several files, which have one table of connections together.
func TestCPlusPlusWithLibrary(t *testing.T) {
	r, said, err := compiled(t, map[string]string{
		"a.cc": `#include "csa.hpp"
#include <string>
#include <vector>
#include "b.h"
struct Client : csa::Connection {
	std::vector<std::string> said;
	csa::Result<int32_t> data(csa::Bytes bytes)
	{
		said.emplace_back(bytes.begin(), bytes.end());
		return said.size() > 1 && answer(handle()) < 0 ? 0 : bytes.size();
	}
};
CSA_SERVE_CLASS(Client, 4096)
`,
		"b.h":  "#include <stdint.h>\nint32_t answer(int32_t conn);\n",
		"b.cc": "#include \"csa.hpp\"\n#include \"b.h\"\nint32_t answer(int32_t conn) { return (int32_t)csa::Conn(conn).write(\"yes\"); }\n",
	})
	if err != nil || said != "" || r.Shape != admit.Events || len(r.Refused) > 0 {
		t.Errorf("%+v, %v\n%s", r, err, said)
	}
}

// What a compiler says reaches the author as it is, with file and line, and the mend where it is
// known.
func TestCompilerErrors(t *testing.T) {
	_, said, err := compiled(t, map[string]string{"a.c": "#include \"csa.h\"\nint x = y;\n"})
	if err == nil || !strings.Contains(said, "a.c:2:9: error") || !strings.Contains(err.Error(), "did not build the handler") {
		t.Errorf("%v\n%s", err, said)
	}
	_, said, err = compiled(t, map[string]string{"a.cc": "#include \"csa.h\"\nvoid f() { throw 1; }\n"})
	if err == nil || !strings.Contains(err.Error(), "says how C++ is built with exceptions") {
		t.Errorf("%v\n%s", err, said)
	}
}

// What clang calls where there is no instruction is named, and where it comes from.
func TestCompilersOwnLibrary(t *testing.T) {
	_, said, err := compiled(t, map[string]string{"a.c": "#include \"csa.h\"\nCSA_DEFINE_WINDOW(window, 4096)\nint32_t csa_data(int32_t c, int32_t len) { int64_t n; return __builtin_mul_overflow((int64_t)c << 40, (int64_t)len, &n); }\n"})
	if err == nil || !strings.Contains(said, "__multi3") || !strings.Contains(err.Error(), "link libclang_rt.builtins-wasm32.a") {
		t.Errorf("%v\n%s", err, said)
	}
}

func TestGoErrors(t *testing.T) {
	_, said, err := compiled(t, map[string]string{"go.mod": "module a\n", "a.go": "package main\n\nimport _ \"bulkhead/sdk/go\"\n\nfunc main() {}\n"})
	if err == nil || !strings.Contains(err.Error(), "bulkhead new go NAME makes a project that has the library in it") {
		t.Errorf("%v\n%s", err, said)
	}
	_, said, err = compiled(t, map[string]string{"go.mod": "module a\n", "a.go": "package main\n\nfunc main() { x }\n"})
	if err == nil || !strings.Contains(said, "./a.go:3:15: undefined: x") {
		t.Errorf("%v\n%s", err, said)
	}
}

// Without the guest library a module needs no more than its own callbacks.
func TestAssemblyScript(t *testing.T) {
	const handler = "const window = memory.data(4096, 16);\nexport function csa_window(): i64 { return (<i64>window << 32) | 4096; }\nexport function csa_data(conn: i32, len: i32): i32 { return len; }\n"
	r, said, err := compiled(t, map[string]string{"asconfig.json": "{}", "index.ts": handler})
	if err != nil || said != "" || r.Shape != admit.Events || len(r.Refused) > 0 {
		t.Errorf("%+v, %v\n%s", r, err, said)
	}
	_, said, err = compiled(t, map[string]string{"asconfig.json": "{}", "index.ts": "export function f(): i32 { return x; }\n"})
	if err == nil || !strings.Contains(said, "in index.ts(1,35)") {
		t.Errorf("%v\n%s", err, said)
	}
}

func TestZig(t *testing.T) {
	const handler = "var window: [4096]u8 align(16) = undefined;\nexport fn csa_window() i64 {\n    return @as(i64, @intCast(@intFromPtr(&window))) << 32 | window.len;\n}\nexport fn csa_data(conn: i32, len: i32) i32 {\n    _ = conn;\n    return len;\n}\n"
	r, said, err := compiled(t, map[string]string{"a.zig": handler})
	if err != nil || said != "" || r.Shape != admit.Events || len(r.Refused) > 0 {
		t.Errorf("%+v, %v\n%s", r, err, said)
	}
	_, said, err = compiled(t, map[string]string{"a.zig": "export fn f() i32 {\n    return x;\n}\n"})
	if err == nil || !strings.Contains(said, "a.zig:2:12: error: use of undeclared identifier 'x'") {
		t.Errorf("%v\n%s", err, said)
	}
}

// A compiler that is not there is named, and how to get it.
func TestMissing(t *testing.T) {
	t.Setenv("PATH", "")
	t.Setenv("WASI_SDK_PATH", "")
	for file, want := range map[string]string{
		"a.c":           "a handler in C is built with clang 14 or later and its linker, wasm-ld; install: apt-get install clang lld",
		"a.cc":          "a handler in C++ is built with clang 14 or later",
		"a.zig":         "a handler in Zig is built with zig; install: https://ziglang.org/download",
		"asconfig.json": "a handler in AssemblyScript is built with node and asc; install: npm install --save-dev assemblyscript",
		"go.mod":        "a handler in Go is built with Go 1.24 or later; install: https://go.dev/dl",
	} {
		s, err := Find(folder(t, map[string]string{file: ""}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = s.Build(t.Context(), t.Output()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", file, err, want)
		}
	}
}
