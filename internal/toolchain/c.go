package toolchain

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"bulkhead/sdk"
)

const installClang = "apt-get install clang lld (Debian, Ubuntu), dnf install clang lld (Fedora), brew install llvm lld (macOS)"

// freestanding are the headers that a compiler has without a C library.
var freestanding = []string{"float.h", "iso646.h", "limits.h", "stdalign.h", "stdarg.h", "stdbool.h", "stddef.h", "stdint.h", "stdnoreturn.h",
	"cfloat", "climits", "cstdarg", "cstddef", "cstdint"}

var (
	included = regexp.MustCompile(`(?m)^[ \t]*#[ \t]*include[ \t]*<([^>\n]+)>`)
	hasMain  = regexp.MustCompile(`(?m)^[^\n/]*\bint[ \t\n]+main[ \t\n]*\(`)
	hasData  = regexp.MustCompile(`\bcsa_data\b`)
)

func buildC(b *build) error { return buildWithClang(b, false) }

func buildCPlusPlus(b *build) error { return buildWithClang(b, true) }

// buildWithClang builds without a C library where the sources include nothing of one, since such a
// handler is some kilobytes long and needs nothing but clang. The lines of the source stay in the
// module, for traces.
func buildWithClang(b *build, plus bool) error {
	text, err := b.text()
	if err != nil {
		return err
	}
	var wants []string // of a C library
	for _, m := range included.FindAllStringSubmatch(text, -1) {
		if name := m[1]; !slices.Contains(freestanding, name) && !ours(name) && !b.has(name) && !slices.Contains(wants, name) {
			wants = append(wants, name)
		}
	}
	program := hasMain.MatchString(text) && !hasData.MatchString(text)
	library := program || len(wants) > 0
	clang, sysroot, err := b.clang(plus, library, wants)
	if err != nil {
		return err
	}
	for _, header := range sdk.CPlusPlus() {
		if err := os.WriteFile(filepath.Join(b.temp, header.Path), header.Text, 0o600); err != nil {
			return err
		}
	}
	args := []string{"-Os", "-g", "-mbulk-memory", "-Wall", "-Wextra", "-I.", "-idirafter", b.temp, "-Wl,--stack-first", "-Wl,-z,stack-size=65536"}
	if plus {
		args = append(args, "-std=c++17", "-fno-exceptions", "-fno-rtti")
	} else {
		args = append(args, "-std=c11")
	}
	switch {
	case !library:
		args = append(args, "--target=wasm32", "-nostdlib", "-ffreestanding", "-Wl,--no-entry")
	case program:
		args = append(args, "--target=wasm32-wasi", "--sysroot="+sysroot, "-Wno-deprecated")
	default:
		args = append(args, "--target=wasm32-wasi", "--sysroot="+sysroot, "-Wno-deprecated", "-mexec-model=reactor")
	}
	// -Wno-deprecated is for newer clangs, which call the target wasip1.
	if library && plus {
		if headers := debianHeaders(clang); headers != "" {
			args = append(args, "-isystem", headers)
		}
	}
	// A clang that finds wasm-opt runs it on what it has linked, and that leaves out the lines of
	// the source. So it finds one that does nothing; its --no-wasm-opt makes no module in version
	// 19.
	tools := filepath.Join(b.temp, "tools")
	if err := os.Mkdir(tools, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tools, "wasm-opt"), []byte("#!/bin/sh\n"), 0o700); err != nil {
		return err
	}
	args = append(args, "-B", tools)
	args = append(args, "-o", b.out)
	return b.call(nil, clang, append(args, b.files...)...)
}

// ours reports whether a file is one of the guest headers, which include nothing of a C library.
func ours(name string) bool {
	return strings.HasPrefix(name, "csa.") || strings.HasPrefix(name, "csa_")
}

// text is all that the folder's sources and headers say.
func (b *build) text() (string, error) {
	var all strings.Builder
	headers, _ := filepath.Glob(filepath.Join(b.dir, "*.h"))
	files := slices.Clone(headers)
	for _, f := range b.files {
		files = append(files, filepath.Join(b.dir, f))
	}
	for _, f := range files {
		if ours(filepath.Base(f)) {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		all.Write(text)
		all.WriteByte('\n')
	}
	return all.String(), nil
}

// has tells whether the folder has a file of this name.
func (b *build) has(name string) bool {
	_, err := os.Stat(filepath.Join(b.dir, name))
	return err == nil
}

// clang finds a compiler that makes WebAssembly, and, where a C library is wanted, that. The newest
// one with a linker is taken, wasi-sdk's before all where WASI_SDK_PATH names it.
func (b *build) clang(plus, library bool, wants []string) (compiler, sysroot string, err error) {
	base := "clang"
	if plus {
		base = "clang++"
	}
	if kit := os.Getenv("WASI_SDK_PATH"); kit != "" {
		return filepath.Join(kit, "bin", base), filepath.Join(kit, "share", "wasi-sysroot"), nil
	}
	var names []string
	for version := 30; version >= 14; version-- {
		names = append(names, fmt.Sprintf("%s-%d", base, version))
	}
	for _, name := range append(names, base, "/opt/homebrew/opt/llvm/bin/"+base, "/usr/local/opt/llvm/bin/"+base) {
		path, ok := look(name)
		if !ok || !strings.Contains(b.output(path, "--print-targets"), "wasm32") {
			continue
		}
		if linker := b.output(path, "--print-prog-name=wasm-ld"); !filepath.IsAbs(linker) {
			if _, ok := look(linker); !ok {
				continue
			}
		}
		if !library || b.hasOwnLibrary(path) {
			compiler = path
			break
		}
		if compiler == "" {
			compiler = path
		}
	}
	if compiler == "" {
		return "", "", b.missing("clang 14 or later and its linker, wasm-ld")
	}
	if !library {
		return compiler, "", nil
	}
	for _, sysroot := range []string{"/usr", "/usr/share/wasi-sysroot"} {
		if _, err := os.Stat(filepath.Join(sysroot, "lib", "wasm32-wasi", "libc.a")); err == nil {
			return compiler, sysroot, nil
		}
	}
	what := "main"
	if len(wants) > 0 {
		what = "<" + strings.Join(wants, ">, <") + ">"
	}
	install := "apt-get install wasi-libc libclang-rt-dev-wasm32 (Debian, Ubuntu: with the version of " + filepath.Base(compiler) + " in the second name)"
	if plus {
		install += " libc++-dev-wasm32 libc++abi-dev-wasm32"
	}
	install += "; or wasi-sdk, with WASI_SDK_PATH naming its folder; or do without it: csa.h needs none"
	return "", "", &Missing{b.language.name, "a C library for WebAssembly where it uses " + what, install}
}

// hasOwnLibrary reports whether a compiler has its own library for WebAssembly, which is linked
// with a C library, and is a package of each version.
func (b *build) hasOwnLibrary(clang string) bool {
	_, err := os.Stat(b.output(clang, "--target=wasm32-wasi", "--print-libgcc-file-name"))
	return err == nil
}

// debianHeaders is where Debian keeps the headers of its C++ library for WebAssembly; clang does
// not look there by itself. "" where there is none.
func debianHeaders(clang string) string {
	_, version, ok := strings.Cut(filepath.Base(clang), "-")
	if !ok {
		return ""
	}
	dir := "/usr/lib/llvm-" + version + "/include/wasm32-wasi/c++/v1"
	if _, err := os.Stat(dir); err != nil {
		return ""
	}
	return dir
}
