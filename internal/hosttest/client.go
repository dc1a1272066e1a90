package hosttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"bulkhead/internal/awaittest"
)

// clientTime is how long a real client may run.
const clientTime = 2 * time.Minute

// Need skips the test where a program is absent, and says which of Debian's packages has
// it. .ci/run installs all of them.
func Need(t testing.TB, command, pkg string) {
	t.Helper()
	if _, err := exec.LookPath(command); err != nil {
		t.Skipf("there is no %s; it is in Debian's package %s", command, pkg)
	}
}

// Ran is what a program has written, and how it has ended.
type Ran struct {
	Out, Err string
	Code     int // the exit code
}

// String is all of it, for the message of a test that fails.
func (r Ran) String() string {
	out := r.Out
	if len(out) > 4000 {
		out = out[:4000] + "..."
	}
	return fmt.Sprintf("exit code %d\n%s%s", r.Code, r.Err, out)
}

// Run runs a program with stdin until it has ended. It knows nothing of the user's
// settings: no rc files, no proxies, no language. The test fails when it takes longer
// than two minutes. It may be called from any goroutine of the test that does not
// outlive it.
func Run(t testing.TB, stdin, command string, args ...string) Ran {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), clientTime)
	defer cancel()
	c := exec.CommandContext(ctx, command, args...)
	c.Env = cleanEnv()
	c.Stdin = strings.NewReader(stdin)
	c.WaitDelay = 10 * time.Second
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	r := Ran{Out: out.String(), Err: errs.String(), Code: c.ProcessState.ExitCode()}
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited || ctx.Err() != nil {
		t.Errorf("%s %s: %v\n%v", command, strings.Join(args, " "), errors.Join(err, ctx.Err()), r)
	}
	return r
}

func cleanEnv() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C", "TMPDIR=" + os.TempDir()}
}

// Talk is a program that is spoken with while it runs.
type Talk struct {
	t   testing.TB
	in  io.WriteCloser
	cmd *exec.Cmd

	mu   sync.Mutex
	text bytes.Buffer // of both its outputs
	done chan struct{}
}

// Start starts a program as Run does, to be spoken with. It is killed with the test.
func Start(t testing.TB, command string, args ...string) *Talk {
	t.Helper()
	c := exec.Command(command, args...)
	c.Env = cleanEnv()
	k := &Talk{t: t, cmd: c, done: make(chan struct{})}
	c.Stdout, c.Stderr = (*talkWriter)(k), (*talkWriter)(k)
	var err error
	if k.in, err = c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = c.Wait()
		close(k.done)
	}()
	t.Cleanup(k.Kill)
	return k
}

type talkWriter Talk

func (w *talkWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

// Text is what it has written so far, on both its outputs.
func (k *Talk) Text() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.text.String()
}

// Say writes to its standard input.
func (k *Talk) Say(s string) {
	k.t.Helper()
	if _, err := io.WriteString(k.in, s); err != nil {
		k.t.Fatalf("%v; it had said:\n%s", err, k.Text())
	}
}

// Hear waits until it has written a text, and n times so.
func (k *Talk) Hear(text string, n int) {
	k.t.Helper()
	deadline := awaittest.Deadline()
	for strings.Count(k.Text(), text) < n {
		select {
		case <-k.done:
			if strings.Count(k.Text(), text) < n {
				k.t.Fatalf("it ended and has not said %q %d times:\n%s", text, n, k.Text())
			}
		default:
		}
		if time.Now().After(deadline) {
			k.t.Fatalf("it has not said %q %d times:\n%s", text, n, k.Text())
		}
		time.Sleep(time.Millisecond)
	}
}

// HearEnd waits until it has ended, and returns all it has written.
func (k *Talk) HearEnd() string {
	k.t.Helper()
	select {
	case <-k.done:
	case <-time.After(awaittest.Longest):
		k.t.Fatalf("it does not end:\n%s", k.Text())
	}
	return k.Text()
}

// CloseInput ends its standard input.
func (k *Talk) CloseInput() { _ = k.in.Close() }

// Kill ends it where it stands, and waits until it is gone.
func (k *Talk) Kill() {
	_ = k.cmd.Process.Kill()
	_ = k.in.Close()
	<-k.done
}
