// Package render writes everything that comes from the tables of package abi:
// the contract in prose, the C header and the bindings of the Go guest library.
package render

import (
	"bytes"
	_ "embed"
	"fmt"
	"go/format"
	"strings"
	"text/template"

	"bulkhead/abi"
)

var (
	//go:embed abi.md.tmpl
	abiMarkdown string
	//go:embed csa.h.tmpl
	cHeader string
	//go:embed imports.go.tmpl
	goImports string
	//go:embed codes.go.tmpl
	goCodes string
)

// outputs are the generated files, by their path under the module's root.
var outputs = map[string]string{
	"abi/ABI.md":               abiMarkdown,
	"sdk/c/csa.h":              cHeader,
	"sdk/go/imports_wasip1.go": goImports,
	"sdk/go/abi.go":            goCodes,
}

// contract is what the templates see.
type contract struct {
	Module    string
	Version   int
	Memory    string
	Functions []abi.Function
	Exports   []abi.Export
	Codes     []abi.CodeDoc
	Groups    []group
}

// Files generates every file, in memory. The keys are paths with slashes, under
// root, which is the module's root; abi/constants.go is read from there.
func Files(root string) (map[string][]byte, error) {
	groups, err := constantsOf(root)
	if err != nil {
		return nil, err
	}
	data := contract{abi.Module, abi.Version, abi.Memory, abi.HostFunctions, abi.GuestExports, abi.Codes, groups}
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

var funcs = template.FuncMap{
	"signature": func(f abi.Function) string { return f.Signature() },
	"codes":     codeList,
	"cResult":   cResult,
	"cParams":   cParams,
	"goParams":  goParams,
	"goResult":  goResult,
	"goName":    func(name string) string { return "host" + capital(name) },
	"goCode":    goCode,
	"cComment":  func(s string) string { return comment(s, "", " * ", 78) },
	"goComment": func(s string) string { return comment(plain(s), "", "// ", 78) },
	"cCode":     func(name string) string { return "CSA_" + name },
	"cell":      func(s string) string { return strings.ReplaceAll(s, "|", "\\|") },
	"uncapital": func(s string) string { return strings.ToLower(s[:1]) + s[1:] },

	// What the Go guest library has of the constants: some under public names,
	// some for itself.
	"levels": func() []string { return []string{"Debug", "Info", "Warn", "Error"} },
	"limits": func() []string { return []string{"MinWindow", "MaxWindow", "MaxLogLine", "MaxMetricName", "MaxTimers"} },
	"selectors": func() []string {
		return []string{"ProducerFinished", "ShutdownMicroprocess", "FinishSending",
			"InfoPeer", "InfoLocal", "InfoListener", "InfoTenant", "InfoTransport", "ClockWall", "ClockMonotonic"}
	},
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

// goParams writes the parameters under names that shadow nothing.
func goParams(f abi.Function) string {
	var out []string
	for _, p := range f.Params {
		name := map[string]string{"len": "length", "cap": "capacity"}[p.Name]
		if name == "" {
			name = p.Name
		}
		if p.Access != abi.None {
			out = append(out, name+" unsafe.Pointer")
		} else {
			out = append(out, name+" "+goType(p.Type))
		}
	}
	return strings.Join(out, ", ")
}

func goResult(f abi.Function) string {
	if len(f.Results) == 0 {
		return ""
	}
	return goType(f.Results[0])
}
