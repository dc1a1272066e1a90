package bundle

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// tsconfigName is the file beside a script that says how its TypeScript is meant. Others are not
// read, also where it extends them.
const tsconfigName = "tsconfig.json"

// meaning are the options of a tsconfig.json that change what a script does, and not only what tsc
// says of it.
type meaning struct {
	ExperimentalDecorators  *bool   `json:"experimentalDecorators,omitempty"`
	UseDefineForClassFields *bool   `json:"useDefineForClassFields,omitempty"`
	VerbatimModuleSyntax    *bool   `json:"verbatimModuleSyntax,omitempty"`
	JSX                     *string `json:"jsx,omitempty"`
	JSXFactory              *string `json:"jsxFactory,omitempty"`
	JSXFragmentFactory      *string `json:"jsxFragmentFactory,omitempty"`
	JSXImportSource         *string `json:"jsxImportSource,omitempty"`
}

// readTsconfig takes what changes a script's meaning out of a tsconfig.json, as esbuild takes it.
// wrong is a line for the author about what the host does not follow, or is empty.
func readTsconfig(b []byte) (raw, wrong string) {
	b = plainJSON(b)
	var t struct {
		CompilerOptions struct {
			meaning
			Paths   json.RawMessage `json:"paths"`
			BaseURL json.RawMessage `json:"baseUrl"`
		} `json:"compilerOptions"`
	}
	if err := json.Unmarshal(b, &t); err != nil {
		return "{}", fmt.Sprintf("%s cannot be read: %v", tsconfigName, err)
	}
	for _, option := range []struct {
		name  string
		value json.RawMessage
	}{{"paths", t.CompilerOptions.Paths}, {"baseUrl", t.CompilerOptions.BaseURL}} {
		if len(option.value) > 0 && string(option.value) != "null" {
			at := max(bytes.Index(b, []byte(`"`+option.name+`"`)), 0)
			return "{}", fmt.Sprintf("%s:%d: the host does not follow %s; write imports relative to the file that they are in (\"./lib/x\"), or put names that begin with # into imports of package.json, which tsc follows, too",
				tsconfigName, 1+bytes.Count(b[:at], []byte("\n")), option.name)
		}
	}
	out, err := json.Marshal(map[string]meaning{"compilerOptions": t.CompilerOptions.meaning})
	if err != nil {
		return "{}", fmt.Sprintf("%s cannot be read: %v", tsconfigName, err)
	}
	return string(out), ""
}

// plainJSON is JSON without what tsconfig.json may have besides: a byte order mark, comments, and
// commas behind the last of a list. Lines stay where they are.
func plainJSON(b []byte) []byte {
	b = bytes.TrimPrefix(b, []byte("\uFEFF"))
	out := make([]byte, 0, len(b))
	comma := -1 // where the last comma is in out, if only space is behind it
	for i := 0; i < len(b); {
		rest := b[i:]
		switch c := b[i]; {
		case c == '"':
			n := 1
			for n < len(rest) && rest[n] != '"' {
				if rest[n] == '\\' {
					n++
				}
				n++
			}
			n = min(n+1, len(rest))
			out, comma = append(out, rest[:n]...), -1
			i += n
		case bytes.HasPrefix(rest, []byte("//")):
			n := bytes.IndexByte(rest, '\n')
			if n < 0 {
				n = len(rest)
			}
			i += n
		case bytes.HasPrefix(rest, []byte("/*")):
			n := bytes.Index(rest[2:], []byte("*/"))
			if n < 0 {
				n = len(rest) - 4
			}
			out = append(out, bytes.Repeat([]byte("\n"), bytes.Count(rest[:n+4], []byte("\n")))...)
			i += n + 4
		default:
			switch {
			case c == ',':
				comma = len(out)
			case (c == '}' || c == ']') && comma >= 0:
				out[comma] = ' '
				comma = -1
			case c != ' ' && c != '\t' && c != '\r' && c != '\n':
				comma = -1
			}
			out = append(out, c)
			i++
		}
	}
	return out
}
