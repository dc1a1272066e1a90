package main

import (
	"fmt"
	"io"
	"net"
	"os"

	w "bulkhead/internal/wasmtest"
)

// small are echoes in a few instructions, each of a tenant's own.
var small = kind{
	name: "an echo, distinct modules",
	ext:  ".wasm",
	guest: func(i int) ([]byte, error) {
		m, f := w.Handler([2]string{"send", "iii:i"})
		m.Func("csa_data", "ii:i", "",
			w.I32Const(int32(i)), w.Drop, // which makes it one that no other tenant has
			w.LocalGet(0), w.I32Const(w.WindowAt), w.LocalGet(1), w.Call(f[0]))
		return m.Bytes(), nil
	},
	talk: func(c net.Conn) error { return answers(c, "hello\n", "hello\n") },
}

// script are echoes in JavaScript, each of a tenant's own.
var script = kind{
	name: "an echo in JavaScript, distinct scripts",
	ext:  ".js",
	guest: func(i int) ([]byte, error) {
		return fmt.Appendf(nil, "// of tenant %d\nexport default { line(c, text) { c.send(text + \"\\n\") } }\n", i), nil
	},
	talk: func(c net.Conn) error { return answers(c, "hello\n", "hello\n") },
}

// golangGuest is a program in Go, the same for all tenants: compiling takes a second each time.
func golangGuest(path string) kind {
	return kind{
		name:  "the chat in Go",
		ext:   ".wasm",
		guest: func(int) ([]byte, error) { return os.ReadFile(path) },
		talk: func(c net.Conn) error {
			b := make([]byte, 1) // it asks for a name
			_, err := io.ReadFull(c, b)
			return err
		},
	}
}

func answers(c net.Conn, say, hear string) error {
	if _, err := io.WriteString(c, say); err != nil {
		return err
	}
	b := make([]byte, len(hear))
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	if string(b) != hear {
		return fmt.Errorf("it answered %q to %q", b, say)
	}
	return nil
}
