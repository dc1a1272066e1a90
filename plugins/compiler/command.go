package compiler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// Command is the program that compiles, and what it may take. The zero value
// is none.
type Command struct {
	// Args is the command line: the absolute path of the program, and arguments
	// that have it call Main with what is added behind them. Empty: there is
	// none.
	Args []string
	// Limits are what compiling one module may take. Zero: the defaults.
	Limits Limits
}

// Failure is a module that could not be compiled.
type Failure struct {
	// Why is one clause that goes on from "does not compile: ". Nothing of what
	// a crash writes is in it.
	Why string
	// Detail is for the operator's log: a line of what a crash wrote. It is
	// empty when Why says everything.
	Detail string
	// Certain says that the module itself is the reason, and that it fails again
	// whenever it is tried. How busy the machine is has no part in it.
	Certain bool
}

// Error is Why.
func (f *Failure) Error() string { return f.Why }

// marker is in the environment of the child. A program that does not call Main
// would start itself again, and so on.
const marker = "BULKHEAD_COMPILES"

// slots are the children that may run at once.
var slots = make(chan struct{}, runtime.NumCPU())

const (
	maxStdout = maxAnswer
	maxStderr = 64 << 10

	// waitDelay is how long pipes may stay open when the child is dead.
	waitDelay = 5 * time.Second
)

// Compile compiles a module in a child process, which works in a directory of
// its own below dir: one that nobody but us may enter. It waits for its turn
// when as many children run as there are processors. When ctx is over the child
// is killed. The error is a *Failure when the child was started and gave no
// code, that of ctx when it is over, or says what could not be started, or that
// the disk is full (syscall.ENOSPC or EDQUOT). The module is not kept. It blocks, and may be called
// from any goroutine.
func (c Command) Compile(ctx context.Context, module []byte, dir string) (code *Code, err error) {
	err = c.inChild(ctx, dir, exchange{input: bytes.NewReader(module)}, nil, func(dir string, _ []byte) (err error) {
		code, err = readCode(dir, c.Limits.filled().Code)
		return err
	})
	return code, err
}

// inChild has a child do what its arguments behind the limits say. done is given the directory that
// it has worked in, and what it has said.
func (c Command) inChild(ctx context.Context, dir string, e exchange, args []string, done func(dir string, said []byte) error) error {
	switch {
	case len(c.Args) == 0:
		return errors.New("starting the compiler: there is no command line")
	case !filepath.IsAbs(c.Args[0]):
		return fmt.Errorf("starting the compiler %s: it is started in another directory, so give an absolute path", c.Args[0])
	case os.Getenv(marker) != "":
		return fmt.Errorf("starting the compiler %s: this process is one already, so its program does not act on the arguments %q", c.Args[0], c.Args[1:])
	}
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	w, err := newWorkdir(dir)
	if err != nil {
		return fmt.Errorf("making a directory to compile in: %w", err)
	}
	defer w.remove()
	limits := c.Limits.filled()
	said, err := c.run(ctx, limits, e, append(limits.args(), args...), w.output())
	if err != nil {
		return err
	}
	return done(w.output(), said)
}

// run runs the child and explains its end.
func (c Command) run(ctx context.Context, limits Limits, e exchange, args []string, dir string) (said []byte, err error) {
	running, cancel := context.WithTimeout(ctx, limits.Wall)
	defer cancel()
	stderr := &head{max: maxStderr}
	cmd := exec.CommandContext(running, programPath(c.Args[0]))
	cmd.Args = append(append([]string{}, c.Args...), args...)
	cmd.Dir, cmd.Env = dir, childEnvironment()
	stdout, err := e.attach(cmd)
	if err != nil {
		return nil, fmt.Errorf("starting the compiler %s: %w", c.Args[0], err)
	}
	cmd.Stderr = stderr
	cmd.SysProcAttr = childAttributes()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = waitDelay
	// The child dies with the thread that starts it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the compiler %s: %w", c.Args[0], err)
	}
	err = cmd.Wait()
	switch {
	case err == nil:
		return stdout.b, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case running.Err() != nil:
		return nil, &Failure{Why: limits.tooMuchTime()}
	case errors.Is(err, exec.ErrWaitDelay):
		return nil, &Failure{Why: "the compiler left something running"}
	}
	if cmd.ProcessState.ExitCode() == statusNoRoom {
		return nil, &fs.PathError{Op: "compiling in", Path: dir, Err: syscall.ENOSPC}
	}
	return nil, explain(limits, cmd.ProcessState, stdout.b, stderr.b)
}

// childEnvironment is all that the child needs. GODEBUG can turn features of
// the processor off, on which the code and its name depend.
func childEnvironment() []string {
	env := []string{"GOMAXPROCS=1", "GOTRACEBACK=none", marker + "=1"}
	if v, ok := os.LookupEnv("GODEBUG"); ok {
		env = append(env, "GODEBUG="+v)
	}
	return env
}
