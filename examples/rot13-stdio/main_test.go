package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestRot13(t *testing.T) {
	for in, want := range map[string]string{
		"":                    "",
		"Hello, world!":       "Uryyb, jbeyq!",
		"NOPabcmnz":           "ABCnopzam",
		"\x00\xff\r\n@[`{09é": "\x00\xff\r\n@[`{09é",
	} {
		for name, r := range map[string]io.Reader{
			"whole":       strings.NewReader(in),
			"bytewise":    iotest.OneByteReader(strings.NewReader(in)),
			"eof at once": iotest.DataErrReader(strings.NewReader(in)),
		} {
			var got bytes.Buffer
			if err := rot13(&got, r); err != nil || got.String() != want {
				t.Errorf("%s: %q became %q (%v), want %q", name, in, got.String(), err, want)
			}
		}
	}
}

// An answer comes before the input ends.
func TestStreams(t *testing.T) {
	in, toIn := io.Pipe()
	fromOut, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- rot13(out, in) }()
	for _, word := range []string{"abc", "Z", strings.Repeat("xyz", 50_000)} {
		go func() { _, _ = io.WriteString(toIn, word) }()
		got := make([]byte, len(word))
		if _, err := io.ReadFull(fromOut, got); err != nil {
			t.Fatal(err)
		}
		rotate(got)
		if string(got) != word {
			t.Fatalf("%.20q came back wrong", word)
		}
	}
	toIn.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestErrorsAreTold(t *testing.T) {
	broken := errors.New("broken")
	if err := rot13(io.Discard, iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Error(err)
	}
	r, w := io.Pipe()
	r.CloseWithError(broken)
	if err := rot13(w, strings.NewReader("x")); !errors.Is(err, broken) {
		t.Error(err)
	}
}
