package toolchain

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// call runs a compiler in the source's folder. What it prints is for the author, whose editor finds
// file and line in it. Env is added to the environment.
func (b *build) call(env []string, name string, args ...string) error {
	_, err := b.callWith(env, nil, name, args...)
	return err
}

// callWith is call, with standard output kept where stdout is not nil. It returns what was printed
// on standard error, too.
func (b *build) callWith(env []string, stdout io.Writer, name string, args ...string) (said string, err error) {
	c := exec.CommandContext(b.ctx, name, args...)
	c.Dir = b.dir
	c.Env = append(os.Environ(), env...)
	// A compiler starts others, which a signal to it alone would leave running.
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = lastWords
	var errs bytes.Buffer
	c.Stderr = io.MultiWriter(b.log, &errs)
	c.Stdout = stdout
	if stdout == nil {
		c.Stdout = c.Stderr
	}
	switch err := c.Run(); {
	case errors.Is(err, exec.ErrWaitDelay): // it has ended well, and left somebody behind
	case b.ctx.Err() != nil:
		return errs.String(), b.ctx.Err()
	case err != nil:
		return errs.String(), &failed{filepath.Base(name), err, b.mend(errs.String())}
	}
	return errs.String(), nil
}

// lastWords is how long a compiler that has ended, or was killed, may keep what it prints on open.
const lastWords = 5 * time.Second

// failed is a compiler that has said what it does not like.
type failed struct {
	compiler string
	err      error
	mend     string
}

func (f *failed) Error() string {
	s := fmt.Sprintf("%s did not build the handler (%v)", f.compiler, f.err)
	if f.mend != "" {
		s += ": " + f.mend
	}
	return s
}

// mends are what compilers say when something is missing or was told wrong, and what helps.
var mends = []struct{ language, said, mend string }{
	{"Rust", "can't find crate for `std`", "this Rust has no library for WebAssembly; install it: " + installRust},
	{"Rust", "can't find crate for `core`", "this Rust has no library for WebAssembly; install it: " + installRust},
	{"Rust", "requires `std::thread`", "a handler has no threads: use timers"},
	{"C++", "cannot use 'throw' with exceptions disabled", "sdk/c/README.md says how C++ is built with exceptions"},
	{"C++", "cannot use 'try' with exceptions disabled", "sdk/c/README.md says how C++ is built with exceptions"},
	{"", "wasm-ld: error: unknown argument", "the linker is too old: install lld 14 or later"},
	{"", "libclang_rt.builtins", "the compiler's own library for WebAssembly is missing: apt-get install libclang-rt-19-dev-wasm32 (Debian; with the compiler's version in the name)"},
	{"", "undefined symbol: __multi3", "a multiplication of 128 bits, as of an overflow that is looked for in 64, needs the compiler's own library: link libclang_rt.builtins-wasm32.a, or include a header of a C library, with which it is linked"},
	{"", "undefined symbol: setjmp", "sdk/c/README.md says how setjmp is built"},
	{"", "pthread_create", "a handler has no threads: use timers"},
	{"Go", "undefined: syscall", "this package needs a system that a handler does not have; see the table in sdk/go/README.md"},
	{"Go", "build constraints exclude all Go files", "this package does not exist for GOOS=wasip1: see the table in sdk/go/README.md"},
	{"Go", "no required module provides package bulkhead/sdk/go", "bulkhead new go NAME makes a project that has the library in it"},
	{"Go", "package bulkhead/sdk/go is not in std", "bulkhead new go NAME makes a project that has the library in it"},
	{"AssemblyScript", "Cannot find name 'setTimeout'", "a handler has no timers of JavaScript: use the connection's timer"},
}

func (b *build) mend(said string) string {
	for _, m := range mends {
		if (m.language == "" || m.language == b.language.name) && strings.Contains(said, m.said) {
			return m.mend
		}
	}
	return ""
}

// look finds the first program that is there.
func look(names ...string) (path string, ok bool) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, true
		}
	}
	return "", false
}

// output is what a command prints on standard output, without spaces around it; "" where it fails.
func (b *build) output(name string, args ...string) string {
	c := exec.CommandContext(b.ctx, name, args...)
	c.Dir = b.dir
	out, err := c.Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

var (
	errNoEntry   = errors.New("there is no source")
	errNoLibrary = errors.New("it made no .wasm file")
)
