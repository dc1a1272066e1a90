package compiler

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bulkhead/internal/awaittest"
	w "bulkhead/internal/wasmtest"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"
)

// until waits for a condition that other processes bring about.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	awaittest.Until(t, what, cond)
}

// many is a module of n functions, each with the locals and a body that may
// use local 0.
func many(n int, locals []byte, body ...[]byte) []byte {
	m := w.New()
	m.Memory(1)
	for range n {
		m.FuncRaw("", "i:i", w.Cat(locals, w.Cat(body...), w.LocalGet(0), w.End))
	}
	return m.Bytes()
}

var noLocals = []byte{0}

// slow takes the compiler seconds: its time grows with the square of the
// number of loops.
func slow() []byte {
	loops := make([]byte, 0, 1<<18)
	for range 14_000 {
		loops = append(loops, w.Loop(w.LocalGet(0), w.BrIf(0))...)
	}
	return many(1, noLocals, loops)
}

// greedy are thirteen kilobytes that take half a gigabyte: a thousand functions
// with 50,000 locals each.
func greedy() []byte { return many(1300, []byte{1, 0xd0, 0x86, 0x03, 0x7f}) }

// engineTakes reports whether the engine takes what a child has left for the
// code of a module, under the name that it has for it, without compiling.
func engineTakes(t testing.TB, code *Code, module []byte) bool {
	t.Helper()
	dir := t.TempDir()
	c, err := wazero.NewCompilationCacheWithDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	if err := os.WriteFile(filepath.Join(dir, code.folder, hex.EncodeToString(code.Engine[:])), code.Bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	r := wazero.NewRuntimeWithConfig(context.Background(), EngineConfig().WithCompilationCache(c))
	defer r.Close(context.Background())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = r.CompileModule(experimental.WithCompilationWorkers(ctx, 2), module)
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	return err == nil
}

// tidy wants nothing to be left in a directory that was compiled in.
func tidy(t testing.TB, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("%q are left: %v", left, err)
	}
}

func TestCompile(t *testing.T) {
	dir := t.TempDir()
	module := w.Echo().Bytes()
	code, err := self("compile", Limits{}).Compile(context.Background(), module, dir)
	if err != nil {
		t.Fatal(err)
	}
	if !engineTakes(t, code, module) {
		t.Error("the engine does not take the code")
	}
	if engineTakes(t, code, many(1, noLocals)) {
		t.Error("the engine takes the code of another module")
	}
	tidy(t, dir)
}

// Whatever the child does, what comes of it is one clause, and nothing is left.
func TestFailures(t *testing.T) {
	low := Limits{Memory: 256 << 20, CPU: time.Second, Wall: 2 * time.Minute, Code: 1 << 20}
	quick, roomy := low, low
	quick.Wall = 100 * time.Millisecond
	roomy.CPU = 20 * time.Second
	const some = "*"
	const unusable = "the compiler left no usable code"
	for _, c := range []struct {
		name, role   string
		limits       Limits
		module       []byte
		want, detail string
	}{
		{"invalid", "compile", low, many(1, noLocals, w.I64Const(1), w.LocalSet(0)), "invalid function[0]: type mismatch: expected i32, but was i64", ""},
		{"no module", "compile", low, []byte("hello"), "invalid magic number", ""},
		{"slow", "compile", low, slow(), "the compiler needed more than 1 s of CPU time", ""},
		{"greedy", "compile", roomy, greedy(), "the compiler needed more than 256 MiB of memory", some},
		{"large", "compile", Limits{Code: 1 << 10}, many(1000, noLocals), "its code takes more than 1024 bytes", ""},
		{"late", "compile", quick, slow(), "the compiler took longer than 100ms", ""},

		{"panics", "panic", low, nil, "the compiler crashed with exit status 2 after", "panic: first line"},
		{"throws", "throw", low, nil, "the compiler crashed with exit status 2 after", "fatal error: sync: unlock of unlocked mutex"},
		{"dereferences nil", "nil", low, nil, "the compiler crashed with exit status 2 after", "nil pointer"},
		{"overflows", "overflow", low, nil, "the compiler needed more than 32 MiB of stack", "stack"},
		{"eats", "eat", roomy, nil, "the compiler needed more than 256 MiB of memory", some},
		{"spins", "spin", low, nil, "the compiler needed more than 1 s of CPU time", ""},
		{"hangs", "hang", quick, nil, "the compiler took longer than 100ms", ""},
		{"is killed", "killed", low, nil, "the compiler was killed, perhaps because the machine has no more memory; try again", ""},
		{"aborts", "segv", low, nil, "the compiler crashed with", "SIGABRT"},
		{"talks", "talks", low, nil, "?[31m?[31m", ""},
		{"says nothing", "silent", low, nil, "the compiler crashed with exit status 1 after", ""},
		{"does nothing", "deaf", low, slow(), unusable, "0 files"},
		{"is no compiler", "nonsense", low, nil, "the compiler crashed with exit status 3 after", "no such role"},

		{"leaves an empty file", "empty file", low, nil, unusable, "does not begin"},
		{"leaves garbage", "garbage", low, nil, unusable, "does not begin"},
		{"leaves much", "large", low, nil, "its code takes more than 1 MiB", ""},
		{"leaves a link", "symlink", low, nil, unusable, "opening its file"},
		{"leaves a pipe", "fifo", low, nil, unusable, "is no file"},
		{"leaves a directory", "directory", low, nil, unusable, "is no file"},
		{"leaves two files", "two files", low, nil, unusable, "2 files"},
		{"leaves another name", "wrong name", low, nil, unusable, "a file called"},
		{"leaves a linked folder", "linked folder", low, nil, unusable, "opening its folder"},
		{"leaves another folder", "wrong folder", low, nil, unusable, "a file called"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cache := t.TempDir()
			command := self(c.role, c.limits)
			_, err := command.Compile(context.Background(), c.module, cache)
			var f *Failure
			if !errors.As(err, &f) {
				t.Fatalf("%v is no Failure", err)
			}
			if !strings.HasPrefix(f.Why, c.want) || c.detail != some && !strings.Contains(f.Detail, c.detail) || (c.detail == "") != (f.Detail == "") {
				t.Errorf("it says %q, in detail %q; want %q, %q", f.Why, f.Detail, c.want, c.detail)
			}
			for _, s := range []string{f.Why, f.Detail} {
				if strings.ContainsAny(s, "\n\x1b") || len(s) > maxLine+10 {
					t.Errorf("this is not fit to be shown: %q", s)
				}
			}
			tidy(t, cache)
		})
	}
}

// A full disk is not the module's fault.
func TestNoRoom(t *testing.T) {
	dir := t.TempDir()
	_, err := self("no room", Limits{}).Compile(context.Background(), nil, dir)
	var f *Failure
	if !errors.Is(err, syscall.ENOSPC) || errors.As(err, &f) || !strings.HasPrefix(err.Error(), "compiling in "+dir) {
		t.Errorf("a child without room: %v", err)
	}
	tidy(t, dir)
}

func TestNoProgram(t *testing.T) {
	cache := t.TempDir()
	_, err := Command{Args: []string{"/no/such/program"}}.Compile(context.Background(), nil, cache)
	if err == nil || !strings.Contains(err.Error(), "starting the compiler /no/such/program: ") {
		t.Error(err)
	}
	if _, err := (Command{}).Compile(context.Background(), nil, cache); err == nil || !strings.Contains(err.Error(), "no command line") {
		t.Error(err)
	}
	_, err = Command{Args: []string{"ls"}}.Compile(context.Background(), nil, cache)
	if err == nil || !strings.Contains(err.Error(), "absolute path") {
		t.Error(err)
	}
	_, err = self("compile", Limits{}).Compile(context.Background(), w.Echo().Bytes(), filepath.Join(cache, "gone"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	// A program that does not call Main stops here, and does not start itself
	// for ever.
	t.Setenv(marker, "1")
	_, err = self("compile", Limits{}).Compile(context.Background(), w.Echo().Bytes(), cache)
	if err == nil || !strings.Contains(err.Error(), "does not act on the arguments") {
		t.Error(err)
	}
	tidy(t, cache)
}

func TestCancel(t *testing.T) {
	cache := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		_, err := self("forks", Limits{}).Compile(ctx, nil, cache)
		done <- err
	}()
	pid := pidOf(t, cache)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	until(t, "what the child started ends too", func() bool { return dead(pid) })
	tidy(t, cache)

	// Waiting for a turn can be given up too.
	for range cap(slots) {
		slots <- struct{}{}
	}
	_, err := self("compile", Limits{}).Compile(ctx, nil, cache)
	for range cap(slots) {
		<-slots
	}
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// pidOf waits for the process that a child writes down.
func pidOf(t testing.TB, cache string) (pid int) {
	t.Helper()
	until(t, "the child writes a process down", func() bool {
		found, _ := filepath.Glob(filepath.Join(cache, workPrefix+"*", "out", "pid"))
		if len(found) == 0 {
			return false
		}
		b, _ := os.ReadFile(found[0])
		pid, _ = strconv.Atoi(string(b))
		return pid > 0
	})
	return pid
}

// dead reports whether a process has ended; nobody may have asked for its
// status yet.
func dead(pid int) bool {
	if syscall.Kill(pid, 0) == syscall.ESRCH {
		return true
	}
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X")
}

func TestConcurrently(t *testing.T) {
	cache := t.TempDir()
	command := self("compile", Limits{})
	var all sync.WaitGroup
	const modules = 6
	for i := range 2 * modules {
		all.Go(func() {
			Clean(cache)
			module := many(i%modules+1, noLocals)
			if code, err := command.Compile(context.Background(), module, cache); err != nil || !engineTakes(t, code, module) {
				t.Errorf("module %d: %v", i%modules, err)
			}
		})
	}
	all.Wait()
	tidy(t, cache)
}

// parent compiles with a child that hangs.
func parent(args []string) int {
	_, err := self("hang", Limits{}).Compile(context.Background(), nil, args[0])
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// The child does not outlive its parent, and what is left is removed by the
// next one, but not before.
func TestCrash(t *testing.T) {
	cache := t.TempDir()
	var parents []*exec.Cmd
	for range 2 {
		self := self("parent", Limits{}).Args
		c := exec.Command(programPath(self[0]))
		c.Args = append(self, cache)
		c.Stderr = os.Stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		defer c.Wait()
		defer c.Process.Kill()
		parents = append(parents, c)
	}
	work := func() []string {
		found, _ := filepath.Glob(filepath.Join(cache, workPrefix+"*"))
		return found
	}
	until(t, "both compile", func() bool {
		found, _ := filepath.Glob(filepath.Join(cache, workPrefix+"*", "out", "pid"))
		return len(found) == 2
	})
	pid := pidOf(t, cache)
	if Clean(cache); len(work()) != 2 {
		t.Fatalf("Clean has left %q of two directories in use", work())
	}
	for _, p := range parents {
		_ = p.Process.Kill()
		_ = p.Wait()
	}
	if runtime.GOOS == "linux" {
		until(t, "the child dies with its parent", func() bool { return dead(pid) })
	} else {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	until(t, "what is left is removed", func() bool { Clean(cache); return len(work()) == 0 })
	tidy(t, cache)
}

// As root and as somebody else: what is not the one here is tried as well.
func TestAsSomebodyElse(t *testing.T) {
	if os.Geteuid() != 0 || runtime.GOOS != "linux" {
		t.Skip("only root can become somebody else")
	}
	tmp := t.TempDir()
	for dir := tmp; len(dir) > 1; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm()&1 == 0 {
			t.Skipf("others cannot pass %s", dir)
		}
	}
	mine := filepath.Join(tmp, "mine")
	if err := errors.Join(os.Mkdir(mine, 0o700), os.Chown(mine, 4321, 4321)); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("/proc/self/exe", "-test.run=^(TestCompile|TestFailures|TestConcurrently|TestCrash|TestCancel|TestConfined)$", "-test.timeout=5m")
	c.Args[0] = os.Args[0]
	c.Env = []string{"TMPDIR=" + mine, "PATH=" + os.Getenv("PATH")}
	c.Dir = mine
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 4321, Gid: 4321}}
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
