package compiler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// Task is something else than compiling that a child does with what is not trusted. Unlike the
// compiler, it asks the parent for what it needs, since it can open nothing itself.
type Task struct {
	// Name is the argument by which Converse has Main do it.
	Name string
	// Do is called in the child, when that is confined. What it writes to out are lines that begin
	// with a brace, and in has the answers. An error, which is one line for people, ends the child,
	// and is the Failure that Converse gives.
	Do func(in io.Reader, out io.Writer) error
}

// here confines the process and does the task. Panics are errors; those of other goroutines end it.
func (t Task) here(limits Limits) (err error) {
	if _, err := confine(limits, false); err != nil {
		return fmt.Errorf("the compiler could not be confined: %w", err)
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the compiler gave up on it: %v", p)
		}
	}()
	return t.Do(os.Stdin, os.Stdout)
}

// maxSaid is how long a line may be that a child says, in bytes.
const maxSaid = 16 << 20

// Converse has a child do a task, with the limits of c, in a directory of its own below dir. hear
// is given each line that it says and may answer; it is called by one goroutine at a time, and its
// first error ends the child and is the result. Errors are those of Compile else.
func (c Command) Converse(ctx context.Context, dir, task string, hear func(line []byte, answer io.Writer) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wrong error
	fail := func(err error) {
		wrong = err
		cancel()
	}
	err := c.inChild(ctx, dir, exchange{hear: hear, fail: fail}, []string{task}, func(string, []byte) error { return nil })
	if wrong != nil {
		return wrong
	}
	return err
}

// exchange is what goes to a child and comes from it: all its input at once, or answers to what it
// says.
type exchange struct {
	input io.Reader
	hear  func(line []byte, answer io.Writer) error // nil: input is all
	fail  func(error)                               // ends the child, since nobody listens any more
}

// attach connects a child that has not started. The result has what it says otherwise, once it has
// ended.
func (e exchange) attach(cmd *exec.Cmd) (*head, error) {
	said := &head{max: maxStdout}
	if e.hear == nil {
		cmd.Stdin, cmd.Stdout = e.input, said
		return said, nil
	}
	answers, err := cmd.StdinPipe()
	cmd.Stdout = &listener{exchange: e, answers: answers, other: said}
	return said, err
}

// listener takes what a child says apart into lines.
type listener struct {
	exchange
	answers io.Writer
	other   *head // lines that are for people
	begun   []byte
}

var errTooLong = errors.New("the compiler said more than it may")

// Write takes a part of what is said.
func (l *listener) Write(p []byte) (n int, err error) {
	defer func() {
		if err != nil {
			l.fail(err)
		}
	}()
	all := len(p)
	for len(p) > 0 {
		line, rest, whole := bytes.Cut(p, []byte("\n"))
		if len(l.begun)+len(line) > maxSaid {
			return 0, errTooLong
		}
		l.begun = append(l.begun, line...)
		p = rest
		if !whole {
			break
		}
		line, l.begun = l.begun, nil
		if !bytes.HasPrefix(line, []byte("{")) {
			_, _ = l.other.Write(append(line, '\n'))
		} else if err := l.hear(line, l.answers); err != nil {
			return 0, err
		}
	}
	return all, nil
}
