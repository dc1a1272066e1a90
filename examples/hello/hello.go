// Package hello has one handler in each language that needs no compiler, and the conversation that
// tests them. They are the quickstart's, and what bulkhead new begins with.
package hello

import "embed"

//go:embed hello.js hello.ts hello.lua hello.py hello.talk
var files embed.FS

// File is hello.js, hello.ts, hello.lua, hello.py or hello.talk. It panics for another name.
func File(name string) string {
	text, err := files.ReadFile(name)
	if err != nil {
		panic(err)
	}
	return string(text)
}
