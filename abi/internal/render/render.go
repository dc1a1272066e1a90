// Package render writes everything that comes from the tables of package abi:
// the contract in prose, the C header, the bindings of the guest libraries for Go, Rust,
// AssemblyScript and Zig, and the host's calls of what is behind the host functions.
package render

import (
	"bytes"
	_ "embed"
	"fmt"
	"go/format"
	"slices"
	"strings"
	"text/template"
	"unicode/utf8"

	"bulkhead/abi"
)

var (
	//go:embed abi.md.tmpl
	abiMarkdown string
	//go:embed csa.h.tmpl
	cHeader string
	//go:embed imports.go.tmpl
	goImports string
	//go:embed functions.go.tmpl
	goFunctions string
	//go:embed seam.go.tmpl
	goSeam string
	//go:embed codes.go.tmpl
	goCodes string
	//go:embed calls.go.tmpl
	hostCalls string
	//go:embed abi.rs.tmpl
	rustAbi string
	//go:embed abi.ts.tmpl
	assemblyScriptAbi string
	//go:embed abi.zig.tmpl
	zigAbi string
)

// outputs are the generated files, by their path under the module's root.
var outputs = map[string]string{
	"abi/ABI.md":                        abiMarkdown,
	"sdk/c/csa.h":                       cHeader,
	"sdk/go/imports_wasip1.go":          goImports,
	"sdk/go/imports_other.go":           goFunctions,
	"sdk/go/internal/seam/functions.go": goSeam,
	"sdk/go/abi.go":                     goCodes,
	"plugins/hostcalls.go":              hostCalls,
	"sdk/rust/src/abi.rs":               rustAbi,
	"sdk/assemblyscript/abi.ts":         assemblyScriptAbi,
	"sdk/zig/abi.zig":                   zigAbi,
}

// contract is what the templates see.
type contract struct {
	Module    string
	Version   int
	Memory    string
	Functions []abi.HostFunction
	Exports   []abi.Export
	// Declarations are exports that the host does not call.
	Declarations []abi.Function
	Codes        []abi.CodeDoc
	Groups       []group
}

// Files generates every file, in memory. The keys are paths with slashes, under
// root, which is the module's root; abi/constants.go is read from there.
func Files(root string) (map[string][]byte, error) {
	groups, err := constantsOf(root)
	if err != nil {
		return nil, err
	}
	data := contract{abi.Module, abi.Version, abi.Memory, abi.HostFunctions, abi.GuestExports, abi.Declarations, abi.Codes, groups}
	files := make(map[string][]byte, len(outputs))
	for path, text := range outputs {
		t, err := template.New(path).Funcs(funcs).Parse(text)
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		if err := t.Execute(&b, data); err != nil {
			return nil, err
		}
		out := b.Bytes()
		if strings.HasSuffix(path, ".go") {
			if out, err = format.Source(out); err != nil {
				return nil, fmt.Errorf("formatting %s: %w", path, err)
			}
		}
		files[path] = out
	}
	return files, nil
}

// Constant finds a constant by its name in Go.
func (c contract) Constant(name string) (constantDoc, error) {
	for _, g := range c.Groups {
		for _, k := range g.Constants {
			if k.Name == name {
				return k, nil
			}
		}
	}
	return constantDoc{}, fmt.Errorf("abi/constants.go has no constant %s", name)
}

// With are the constants whose names begin with one of the prefixes, in order.
func (c contract) With(prefixes ...string) (list []constantDoc, err error) {
	for _, g := range c.Groups {
		for _, k := range g.Constants {
			if begins(k.Name, prefixes) {
				list = append(list, k)
			}
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("abi/constants.go has no constants that begin with %v", prefixes)
	}
	return list, nil
}

func begins(name string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

// public are the beginnings of the names of constants that the Go guest library has under
// the same names, for authors. The others it has for itself.
var public = []string{"Log", "TLS", "Min", "Max", "HandleReuse"}

// Own are the constants that the Go guest library has for itself.
func (c contract) Own() (list []constantDoc) {
	for _, g := range c.Groups {
		if len(g.Constants) == 1 {
			continue // the module's name, and the version
		}
		for _, k := range g.Constants {
			if !begins(k.Name, public) {
				list = append(list, k)
			}
		}
	}
	return list
}

var funcs = template.FuncMap{
	"signature":   func(f abi.Function) string { return f.Signature() },
	"codes":       codeList,
	"cResult":     cResult,
	"cParams":     cParams,
	"goParams":    goParams,
	"goResult":    goResult,
	"goName":      goName,
	"goMethod":    func(name string) string { return capital(goName(name)) },
	"goImport":    func(name string) string { return "host" + capital(goName(name)) },
	"sliceParams": sliceParams,
	"sliceArgs":   sliceArgs,
	"importArgs":  importArgs,
	"hostArgs":    hostArgs,
	"goCode":      goCode,
	"cComment":    func(s string) string { return comment(s, "", " * ", 78) },
	"cDefine":     cDefine,
	"goComment":   func(s string) string { return comment(plain(s), "", "// ", 78) },
	"cCode":       func(name string) string { return "CSA_" + name },
	"wrap":        func(s string) string { return comment(s, "", "", 100) },
	"cell":        func(s string) string { return strings.ReplaceAll(s, "|", "\\|") },
	"rustDoc":     rustDoc,
	"rustParams":  func(f abi.Function) string { return params(f, "*const u8", "*mut u8") },
	"rustCode":    rustCode,
	"tsDoc":       tsDoc,
	"tsParams":    func(f abi.Function) string { return params(f, "usize", "usize") },
	"zigDoc":      func(text, indent string) string { return comment(text, "", indent+"/// ", 100) },
	"zigParams":   func(f abi.Function) string { return params(f, "[*]const u8", "[*]u8") },
	"zigCode":     rustCode,
	"result":      func(f abi.Function) string { return f.Results[0].String() },
	"lower":       strings.ToLower,
	"upper":       strings.ToUpper,
	"slashes":     func(text string) string { return comment(text, "", "// ", 100) },
	"uncapital":   func(s string) string { return strings.ToLower(s[:1]) + s[1:] },
	"later":       func(names []string) string { return "`" + strings.Join(names, "`, `") + "`" },
}

// plain takes the Markdown marks out of a text.
func plain(s string) string { return strings.NewReplacer("`", "", "*", "").Replace(s) }

// comment wraps text to lines of width columns at most, each behind prefix.
// Empty lines in text separate paragraphs and stay.
func comment(text, first, prefix string, width int) string {
	var b strings.Builder
	b.WriteString(first)
	for i, para := range strings.Split(text, "\n\n") {
		if i > 0 {
			b.WriteString("\n" + strings.TrimRight(prefix, " "))
		}
		line := ""
		for _, word := range strings.Fields(para) {
			if line != "" && len(prefix)+len(line)+1+len(word) > width {
				newline(&b)
				b.WriteString(prefix + line)
				line = ""
			}
			if line != "" {
				line += " "
			}
			line += word
		}
		newline(&b)
		b.WriteString(prefix + line)
	}
	return b.String()
}

// cDefine is the macro of a constant in C. Its comment stands behind it, or above it where the line
// would have more than 100 columns.
func cDefine(k constantDoc) string {
	macro := "#define " + k.C + " " + k.Value
	if line := macro + " /* " + k.Doc + " */"; utf8.RuneCountInString(line) <= 100 {
		return line
	}
	return "/*" + strings.TrimPrefix(comment(k.Doc+" */", "", " * ", 100), " *") + "\n" + macro
}

func newline(b *strings.Builder) {
	if b.Len() > 0 {
		b.WriteByte('\n')
	}
}

func codeList(codes []abi.Code) string {
	names := make([]string, len(codes))
	for i, c := range codes {
		names[i] = c.String()
	}
	return strings.Join(names, ", ")
}

// goCode is the name of the code's constant in Go: BAD_HANDLE is BadHandle.
func goCode(name string) string {
	if name == "OK" || name == "TLS" {
		return name
	}
	var b strings.Builder
	for word := range strings.SplitSeq(name, "_") {
		b.WriteString(word[:1] + strings.ToLower(word[1:]))
	}
	return b.String()
}

func cType(t abi.ValueType) string {
	if t == abi.I64 {
		return "int64_t"
	}
	return "int32_t"
}

func cResult(f abi.Function) string {
	if len(f.Results) == 0 {
		return "void"
	}
	return cType(f.Results[0])
}

func cParams(f abi.Function) string {
	if len(f.Params) == 0 {
		return "void"
	}
	var out []string
	for _, p := range f.Params {
		switch p.Access {
		case abi.Reads:
			out = append(out, "const void *"+p.Name)
		case abi.Writes:
			out = append(out, "void *"+p.Name)
		default:
			out = append(out, cType(p.Type)+" "+p.Name)
		}
	}
	return strings.Join(out, ", ")
}

func goType(t abi.ValueType) string {
	if t == abi.I64 {
		return "int64"
	}
	return "int32"
}

// goName is the name of a function in Go: "echo_len" is echoLen.
func goName(name string) string {
	first, others, _ := strings.Cut(name, "_")
	for word := range strings.SplitSeq(others, "_") {
		first += capital(word)
	}
	return first
}

// goParam is the name of a parameter in Go, which shadows nothing.
func goParam(p abi.Param) string {
	switch p.Name {
	case "len":
		return "length"
	case "cap":
		return "capacity"
	}
	return p.Name
}

// goParams writes the parameters of an import.
func goParams(f abi.Function) string {
	var out []string
	for _, p := range f.Params {
		if p.Access != abi.None {
			out = append(out, goParam(p)+" unsafe.Pointer")
		} else {
			out = append(out, goParam(p)+" "+goType(p.Type))
		}
	}
	return strings.Join(out, ", ")
}

// eachSlice goes over the parameters with each pointer and its length as one: a slice.
func eachSlice(f abi.Function, do func(p abi.Param)) {
	for i, p := range f.Params {
		if i == 0 || f.Params[i-1].Access == abi.None {
			do(p)
		}
	}
}

// sliceParams writes the parameters with slices in place of pointers.
func sliceParams(f abi.Function) string {
	var out []string
	eachSlice(f, func(p abi.Param) {
		if p.Access != abi.None {
			out = append(out, goParam(p)+" []byte")
		} else {
			out = append(out, goParam(p)+" "+goType(p.Type))
		}
	})
	return strings.Join(out, ", ")
}

// sliceArgs are the names of sliceParams.
func sliceArgs(f abi.Function) string {
	var out []string
	eachSlice(f, func(p abi.Param) { out = append(out, goParam(p)) })
	return strings.Join(out, ", ")
}

// importArgs hands the parameters of sliceParams to the import.
func importArgs(f abi.Function) string {
	var out []string
	eachSlice(f, func(p abi.Param) {
		name := goParam(p)
		if p.Access != abi.None {
			name = fmt.Sprintf("unsafe.Pointer(unsafe.SliceData(%[1]s)), int32(len(%[1]s))", name)
		}
		out = append(out, name)
	})
	return strings.Join(out, ", ")
}

// hostArgs takes the parameters from the stack of a call: pointers are unsigned.
func hostArgs(f abi.Function) string {
	var out []string
	for i, p := range f.Params {
		t := goType(p.Type)
		if p.Access != abi.None {
			t = "uint32"
		}
		out = append(out, fmt.Sprintf("%s(s[%d])", t, i))
	}
	return strings.Join(out, ", ")
}

func goResult(f abi.Function) string {
	if len(f.Results) == 0 {
		return ""
	}
	return goType(f.Results[0])
}
