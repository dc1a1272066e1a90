package admit

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"bulkhead/abi"
	"bulkhead/internal/suggest"
	"bulkhead/plugins/wasi"
	"bulkhead/plugins/wasm"
)

// importable is what is known of a function that may be imported.
type importable struct {
	signature wasm.FuncType
	commands  bool // those of shape stdio may have it
}

// importables are all functions that may be imported, as "MODULE.NAME".
var importables = func() map[string]importable {
	list := make(map[string]importable)
	for i := range abi.HostFunctions {
		f := &abi.HostFunctions[i]
		list[abi.Module+"."+f.Name] = importable{typeOf(&f.Function), f.Commands}
	}
	for _, f := range wasi.Functions() {
		list[wasi.Module+"."+f.Name] = importable{wasm.FuncType{Params: wasiTypes(f.Params), Results: wasiTypes(f.Results)}, true}
	}
	return list
}()

// ImportType is the type of a function that guests may import; it must not be changed. ok is false
// when there is none of that name. The host has to provide the functions with these types.
func ImportType(module, name string) (typ wasm.FuncType, ok bool) {
	f, ok := importables[module+"."+name]
	return f.signature, ok
}

// importNames and exportNames are what a misspelt name may have meant. callbackNames are those of
// the exports that the host calls.
var importNames, exportNames, callbackNames = func() (imports, exports, callbacks []string) {
	for i := range abi.HostFunctions {
		imports = append(imports, abi.HostFunctions[i].Name)
	}
	for i := range abi.GuestExports {
		callbacks = append(callbacks, abi.GuestExports[i].Name)
	}
	exports = slices.Clone(callbacks)
	for i := range abi.Declarations {
		exports = append(exports, abi.Declarations[i].Name)
	}
	return imports, exports, callbacks
}()

// refuseImport says why an import is refused, as one clause that goes on from
// the name of the file; "" when it is not.
func refuseImport(i *wasm.Import, shape Shape) string {
	name := i.Module + "." + i.Name
	want, known := importables[name]
	switch {
	case i.Kind != wasm.Function:
		return fmt.Sprintf("imports the %v %s; only functions can be imported, so build it with a %v of its own", i.Kind, Quoted(name), i.Kind)
	case !known && i.Module == abi.Module:
		return fmt.Sprintf("imports function %s, which does not exist%s", Quoted(name), functionMeant(i.Name))
	case !known && i.Module == "wasi_unstable":
		return fmt.Sprintf("imports function %s of a WASI older than preview 1; build it with a newer toolchain", Quoted(name))
	case !known:
		return fmt.Sprintf("imports function %s, which is not in %s or %s; %s", Quoted(name), abi.Module, wasi.Module, withoutImport(i))
	case !i.Type.Equal(want.signature):
		return fmt.Sprintf("imports function %s as %v, which is %v; declare it so", name, i.Type, want.signature)
	case shape == Stdio && !want.commands:
		return fmt.Sprintf("imports function %s, which is for shape = \"events\"; a command reads standard input and writes standard output instead", name)
	}
	return ""
}

// didYouMean is "; did you mean X?" for the known name nearest to what was
// written, or "" when none is near.
func didYouMean(written string, known []string) string {
	if w := suggest.Word(written, known); w != "" {
		return "; did you mean " + w + "?"
	}
	return ""
}

// functionMeant is didYouMean for a function of the ABI; where none is near, it says
// which there are.
func functionMeant(name string) string {
	if s := didYouMean(name, importNames); s != "" {
		return s
	}
	for _, known := range importNames {
		if strings.HasPrefix(name, known) {
			return "; did you mean " + known + "?"
		}
	}
	return "; there are " + strings.Join(importNames, ", ") + ", and what an SDK has beside them is for a newer host"
}

// jsModules are the modules that Go's imports come from when it is built for
// JavaScript: today's, and that of older versions.
var jsModules = []string{"gojs", "go"}

// What C imports from env where the linker lets it pass: jumps are setjmp and longjmp as clang
// calls them, moves are functions that an instruction can be, and compilers those that clang calls
// for what has no instruction, such as a multiplication of 128 bits.
var (
	jumps     = []string{"setjmp", "_setjmp", "longjmp", "siglongjmp", "sigsetjmp", "__wasm_setjmp", "__wasm_setjmp_test", "__wasm_longjmp"}
	moves     = []string{"memcpy", "memmove", "memset"}
	compilers = regexp.MustCompile(`^__[a-z]+(ti|tf|di|df|sf|ki)[a-z]*[0-9]?$`)
)

// withoutImport is how a module is built without an import from a module that the
// host has not.
func withoutImport(i *wasm.Import) string {
	switch {
	case slices.Contains(jsModules, i.Module):
		return "it was built with GOOS=js, so build it with " + goBuild
	case strings.HasPrefix(i.Module, "__wbindgen"), i.Module == "wbg":
		return "it was built for JavaScript, so build it without wasm-bindgen, for --target wasm32-wasip1"
	case i.Module == wasi.Module && strings.HasPrefix(i.Name, "sock_"):
		return "a guest has no sockets: its connections come to csa_open, and csa_v1.connect dials (Go: guest.Connect)"
	case i.Name == "thread-spawn", i.Module == "env" && strings.HasPrefix(i.Name, "pthread_"):
		return "there are no threads, so build it without -pthread (clang: --target=wasm32-wasip1; rustc: --target wasm32-wasip1), and do later work by csa_v1.timer"
	case i.Module == "env" && (strings.HasPrefix(i.Name, "__cxa_") || strings.HasPrefix(i.Name, "_Unwind_")):
		return "it is of C++ exceptions, so build it with -fno-exceptions, or link the library that sdk/c/cplusplus/build.sh makes"
	case i.Module == "env" && slices.Contains(jumps, i.Name):
		return "link sdk/c/setjmp, as sdk/c/README.md says"
	case i.Module == "env" && slices.Contains(moves, i.Name):
		return "build it with -mbulk-memory, which has an instruction for it, or link a C library, and link without --allow-undefined, which let it pass"
	case i.Module == "env" && compilers.MatchString(i.Name):
		return "link the compiler's own library, libclang_rt.builtins-wasm32.a (Debian: libclang-rt-19-dev-wasm32, with the compiler's version in the name)"
	case i.Module == "env" && i.Name == "abort":
		return "build it without it (AssemblyScript: --use abort=FILE/FUNCTION, with one of your own)"
	case i.Module == "env":
		return "build it without it: link what has it, and link without --allow-undefined, which let it pass (Emscripten: -sSTANDALONE_WASM)"
	}
	return "build it without it"
}

// goBuild is how a handler in Go is built.
const goBuild = "GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared"

// Quoted is a name from a module as it may be shown, on a terminal too: as it is if it
// is plain, else quoted.
func Quoted(name string) string {
	if q := fmt.Sprintf("%q", name); q != `"`+name+`"` || name == "" || strings.ContainsAny(name, " ,;") {
		return q
	}
	return name
}
