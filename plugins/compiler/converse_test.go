package compiler

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

// conversing are tasks of children.
var conversing = []Task{
	{"asks", func(in io.Reader, out io.Writer) error {
		r := bufio.NewReader(in)
		for i := range 3 {
			fmt.Fprintf(out, "{%d\n", i)
			if s, err := r.ReadString('\n'); err != nil || s != fmt.Sprintf("%d}\n", i) {
				return fmt.Errorf("it was answered %q: %w", s, err)
			}
		}
		return nil
	}},
	{"refuses", func(_ io.Reader, out io.Writer) error {
		fmt.Fprintln(out, "{one")
		return errors.New("it is\nrefused")
	}},
	{"panics", func(io.Reader, io.Writer) error { panic("first line\nsecond line") }},
	{"panics elsewhere", func(io.Reader, io.Writer) error {
		go func() { panic("nobody catches this") }()
		select {}
	}},
	{"talks without an end", func(_ io.Reader, out io.Writer) error {
		b := []byte("{" + strings.Repeat("x", 1<<20))
		for {
			if _, err := out.Write(b); err != nil {
				return err
			}
		}
	}},
	{"opens", func(_ io.Reader, out io.Writer) error {
		_, err := os.ReadFile("/proc/self/status")
		fmt.Fprintf(out, "{%v\n", err == nil)
		return nil
	}},
	{"does not listen", func(_ io.Reader, out io.Writer) error {
		fmt.Fprintln(out, "{one")
		return nil
	}},
}

// What a child says is heard line by line, and answered; how it ends is explained as for one that
// compiles.
func TestConverse(t *testing.T) {
	stop := errors.New("nobody listens")
	for task, want := range map[string]struct {
		heard, err string
	}{
		"asks":                 {"{0 {1 {2", "<nil>"},
		"refuses":              {"{one", "it is"},
		"panics":               {"", "the compiler gave up on it: first line"},
		"panics elsewhere":     {"", "the compiler crashed with exit status 2"},
		"talks without an end": {"", errTooLong.Error()},
		"does not listen":      {"{one", "<nil>"},
		"stop":                 {"{0", stop.Error()},
		"what":                 {"", "compiling takes three limits"},
	} {
		name := task
		if task == "stop" {
			name = "asks"
		}
		var heard []string
		err := self("converse", Limits{}).Converse(context.Background(), t.TempDir(), name, func(line []byte, answer io.Writer) error {
			heard = append(heard, string(line))
			if task == "stop" {
				return stop
			}
			_, _ = fmt.Fprintf(answer, "%s}\n", line[1:]) // a child that has ended does not read it
			return nil
		})
		if s := strings.Join(heard, " "); s != want.heard || !strings.HasPrefix(fmt.Sprint(err), want.err) {
			t.Errorf("%s: heard %q, and ended with %v; want %q, %s", task, s, err, want.heard, want.err)
		}
	}
}

// A child that does a task has what one has that compiles: as root's, nothing of the file system.
func TestTasksAreConfined(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a child changes its root directory where we are root")
	}
	err := self("converse", Limits{}).Converse(context.Background(), t.TempDir(), "opens", func(line []byte, _ io.Writer) error {
		if string(line) != "{false" {
			t.Error("it can open files")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
