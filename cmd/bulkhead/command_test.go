package main

import (
	"bytes"
	"errors"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// exits runs a command for its exit status.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits N COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if have := status(ts, ts.Exec(args[1], args[2:]...)); have != want {
		ts.Fatalf("the exit status is %d, want %d", have, want)
	}
}

func status(ts *testscript.TestScript, err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	ts.Fatalf("%v", err)
	return -1
}

// refuses wants that a configuration is refused alike by check and by run, for
// one reason, in one line, with nothing on standard output.
func refuses(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2, "refuses FILE REGEXP")
	file := args[0]
	re, err := regexp.Compile(args[1])
	ts.Check(err)
	var first string
	for _, command := range []string{"check", "run"} {
		path, err := exec.LookPath("bulkhead")
		ts.Check(err)
		var stdout, stderr bytes.Buffer
		cmd := exec.Command(path, command, file)
		cmd.Dir, cmd.Stdout, cmd.Stderr = sessionOf(ts).dir, &stdout, &stderr
		if have := status(ts, cmd.Run()); have != exitFailed || stdout.Len() > 0 {
			ts.Fatalf("%s %s ends with status %d and says\n%s%s", command, file, have, &stdout, &stderr)
		}
		// That something is compiled first, run says in its log.
		said := compilingLines.ReplaceAllString(stderr.String(), "")
		line, more, whole := strings.Cut(said, "\n")
		if !whole || more != "" || !re.MatchString(line) || !placed.MatchString(line) {
			ts.Fatalf("%s %s says\n%swant one line, FILE:LINE: ..., that matches %s", command, file, &stderr, re)
		}
		if first == "" {
			first = line
		}
		if line != first {
			ts.Fatalf("check says\n%s\nand run says\n%s", first, line)
		}
	}
}

// compilingLines are of a log, in JSON or text.
var compilingLines = regexp.MustCompile(`(?m)^(\{"time":|time=).*(still compiling|"compiling modules|msg=compiled|"compiled").*\n`)

// placed is what a line begins with that an editor can follow.
var placed = regexp.MustCompile(`^[^ :]+\.toml:[0-9]+: `)
