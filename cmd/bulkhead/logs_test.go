package main

import (
	"strings"
	"testing"
	"unicode"
)

// A line is written for people in one line that no terminal obeys.
func TestWriteLine(t *testing.T) {
	for line, want := range map[string]string{
		`{"time":"then","level":"WARN","msg":"connection closed","connection":7,"peer":"192.0.2.1:5","why":"two words","empty":"","list":["a","b"],"is":true}`: `then WARN  connection closed connection=7 peer=192.0.2.1:5 why="two words" empty="" list="[\"a\",\"b\"]" is=true`,
		`{"level":"INFO","msg":"a\u001b[2J","text":"\u202e\n=","a b":"é"}`:                                                                                     `INFO  "a\x1b[2J" text="\u202e\n=" "a b"=é`,
		`{}`:            ``,
		`{"msg":"cut"`:  `"{\"msg\":\"cut\""`,
		"no JSON \x1b[": `"no JSON \x1b["`,
	} {
		var out strings.Builder
		writeLine(&out, []byte(line))
		if out.String() != want {
			t.Errorf("%s is written as\n%s\nwant\n%s", line, &out, want)
		}
	}
}

func FuzzWriteLine(f *testing.F) {
	f.Add([]byte(`{"time":"2026-11-30T01:02:03.004Z","level":"INFO","msg":"handler says","text":"\u009b31m"}`))
	f.Add([]byte(`{"a":{"b":[1,"` + "\u2028" + `"]}}`))
	f.Add([]byte("{\"\xff\":1e999}\x00"))
	f.Fuzz(func(t *testing.T, line []byte) {
		var out strings.Builder
		writeLine(&out, line)
		if strings.ContainsFunc(out.String(), func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q is written as %q", line, out.String())
		}
	})
}
