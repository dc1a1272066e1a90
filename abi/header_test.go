package abi

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A guest that imports and exports everything compiles as C and as C++, and has
// the signatures of the table. Needs clang with its linker for wasm.
func TestHeader(t *testing.T) {
	header, err := filepath.Abs("../sdk/c")
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	source.WriteString("#include \"csa.h\"\n#include \"csa_config.h\"\n#include \"csa_handler.h\"\nCSA_DEFINE_WINDOW(window, CSA_MIN_WINDOW)\nCSA_DEFINE_QUEUE(queue, 100)\nCSA_ONE_CONNECTION\n")
	// The names that the header had for words in capitals still stand.
	source.WriteString("typedef char same[CSA_T_L_S_CLIENT == CSA_TLS_CLIENT && CSA_INFO_A_L_P_N == CSA_INFO_ALPN && CSA_INFO_T_L_S_VERSION == CSA_INFO_TLS_VERSION ? 1 : -1];\n")
	for _, e := range GuestExports {
		if e.Name == "csa_window" {
			continue
		}
		var params []string
		for _, p := range e.Params {
			params = append(params, map[ValueType]string{I32: "int32_t ", I64: "int64_t "}[p.Type]+p.Name)
		}
		if params == nil {
			params = []string{"void"}
		}
		result, body := "void", ""
		if e.Results != nil {
			result, body = "int32_t", "return CSA_INVALID;"
		}
		if e.Name == "csa_data" {
			body = calls() + "(void)csa_write(&queue, conn, window, len); csa_flush(&queue, conn); csa_finish(&queue, conn, CSA_FINISH_SENDING); csa_clear(&queue); " + body
		}
		fmt.Fprintf(&source, "%s %s(%s) { %s }\n", result, e.Name, strings.Join(params, ", "), body)
	}
	for _, test := range []struct{ file, std string }{{"guest.c", "-std=c99"}, {"guest.c", "-std=c23"}, {"guest.cc", "-std=c++11"}, {"guest.cc", "-std=c++17"}, {"guest.cc", "-std=c++20"}} {
		t.Run(test.std, func(t *testing.T) {
			dir := t.TempDir()
			in, out := filepath.Join(dir, test.file), filepath.Join(dir, "guest.wasm")
			text := source.String()
			if test.std >= "-std=c++17" && test.file == "guest.cc" {
				text = "#include \"csa.hpp\"\n" + text
			}
			if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			clang := compiler(t, test.file)
			cmd := exec.Command(clang, "--target=wasm32", test.std, "-Os", "-nostdlib", "-ffreestanding", "-Wall", "-Wextra", "-Werror",
				"-Wno-unused-parameter", "-pedantic", "-I"+header, "-Wl,--no-entry", "-o", out, in)
			if text, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s\n%s", err, text, source.String())
			}
			bin, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			g, err := readGuest(bin)
			if err != nil {
				t.Fatal(err)
			}
			if len(g.imports) != len(HostFunctions) {
				t.Errorf("it imports %v, and the table has %d functions", g.imports, len(HostFunctions))
			}
			for _, i := range g.imports {
				for j := range HostFunctions {
					if f := &HostFunctions[j]; f.Name == i.name && (i.module != Module || signatureOf(&f.Function) != i.signature) {
						t.Errorf("%s is imported as %s.%s", f.Signature(), i.module, i.signature)
					}
				}
			}
			if g.exports["_initialize"] != fmt.Sprint([]string(nil), []string(nil)) {
				t.Errorf("it exports _initialize as %q", g.exports["_initialize"])
			}
			for _, e := range GuestExports {
				if got, want := g.exports[e.Name], signatureOf(&e.Function); got != want {
					t.Errorf("%s is exported as %q, want %q", e.Name, got, want)
				}
			}
		})
	}
}

// A guest that does not look at what send or csa_write have taken is warned of.
func TestHeaderWarns(t *testing.T) {
	header, err := filepath.Abs("../sdk/c")
	if err != nil {
		t.Fatal(err)
	}
	for call, warns := range map[string]bool{
		"csa_v1_send(conn, window, len);":            true,
		"csa_write(&queue, conn, window, len);":      true,
		"len = csa_v1_send(conn, window, len);":      false,
		"csa_v1_receive(conn, 1);":                   false,
		"len = csa_write(&queue, conn, window, 10);": false,
	} {
		in := filepath.Join(t.TempDir(), "guest.c")
		text := "#include \"csa.h\"\nCSA_DEFINE_WINDOW(window, 4096)\nCSA_DEFINE_QUEUE(queue, 100)\nint32_t csa_data(int32_t conn, int32_t len) { (void)queue; " + call + " return len; }\n"
		if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		said, err := exec.Command(compiler(t, in), "--target=wasm32", "-std=c99", "-Wall", "-Wextra", "-ffreestanding", "-fsyntax-only", "-I"+header, in).CombinedOutput()
		if err != nil || strings.Contains(string(said), "-Wunused-result") != warns || !warns && len(said) > 0 {
			t.Errorf("%s is answered with %v: %s", call, err, said)
		}
	}
}

// calls is a call of every host function.
func calls() string {
	var b strings.Builder
	for _, f := range HostFunctions {
		var args []string
		for i, p := range f.Params {
			if p.Access != None {
				args = append(args, "window")
			} else {
				args = append(args, fmt.Sprint(i))
			}
		}
		fmt.Fprintf(&b, "(void)csa_v1_%s(%s); ", f.Name, strings.Join(args, ", "))
	}
	return b.String()
}

func compiler(t *testing.T, file string) string {
	t.Helper()
	name := "clang"
	if strings.HasSuffix(file, ".cc") {
		name = "clang++"
	}
	for _, version := range []string{"-19", "-22", ""} {
		if _, err := exec.LookPath("wasm-ld" + version); err != nil {
			continue
		}
		if clang, err := exec.LookPath(name + version); err == nil {
			return clang
		}
	}
	t.Skip("there is no clang with wasm-ld; install them with: apt-get install clang-19 lld-19")
	return ""
}
