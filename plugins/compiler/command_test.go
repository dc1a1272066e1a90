package compiler

import (
	"context"
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

	w "bulkhead/plugins/wasmtest"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"
)

// until waits for a condition that other processes bring about.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !cond(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
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

// engineTakes reports whether the engine finds the code of a module in a
// cache, without compiling.
func engineTakes(t testing.TB, cache string, module []byte) bool {
	t.Helper()
	c, err := wazero.NewCompilationCacheWithDir(cache)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
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

// tidy wants a cache to hold nothing but code that is ours.
func tidy(t testing.TB, cache string, files int) {
	t.Helper()
	var have []string
	err := filepath.WalkDir(cache, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == cache {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = fs.ModeDir | 0o700
		} else {
			have = append(have, path)
		}
		if info.Mode() != want || int(info.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() || strings.Contains(path, workPrefix) {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil || len(have) != files {
		t.Errorf("the cache has the files %q, want %d: %v", have, files, err)
	}
}

func TestCompile(t *testing.T) {
	cache := t.TempDir()
	module := w.Echo().Bytes()
	if Compiled(cache, module) || engineTakes(t, cache, module) {
		t.Fatal("the code is there before it is compiled")
	}
	if err := self("compile", Limits{}).Compile(context.Background(), module, cache); err != nil {
		t.Fatal(err)
	}
	if !Compiled(cache, module) || !engineTakes(t, cache, module) {
		t.Error("the code is not there")
	}
	if Compiled(cache, slow()) || engineTakes(t, cache, slow()) {
		t.Error("code is there that was not compiled")
	}
	_ = os.Chmod(filepath.Join(cache, goodFolder), 0o700)
	tidy(t, cache, 2)
	Empty(cache)
	if Compiled(cache, module) || engineTakes(t, cache, module) {
		t.Error("the code is there when it was removed")
	}
	tidy(t, cache, 0)
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
			err := command.Compile(context.Background(), c.module, cache)
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
			tidy(t, cache, 0)
		})
	}
}

func TestNoProgram(t *testing.T) {
	cache := t.TempDir()
	err := Command{Args: []string{"/no/such/program"}}.Compile(context.Background(), nil, cache)
	if err == nil || !strings.Contains(err.Error(), "starting the compiler /no/such/program: ") {
		t.Error(err)
	}
	if err := (Command{}).Compile(context.Background(), nil, cache); err == nil || !strings.Contains(err.Error(), "no command line") {
		t.Error(err)
	}
	err = Command{Args: []string{"ls"}}.Compile(context.Background(), nil, cache)
	if err == nil || !strings.Contains(err.Error(), "absolute path") {
		t.Error(err)
	}
	err = self("compile", Limits{}).Compile(context.Background(), w.Echo().Bytes(), filepath.Join(cache, "gone"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	// A program that does not call Main stops here, and does not start itself
	// for ever.
	t.Setenv(marker, "1")
	err = self("compile", Limits{}).Compile(context.Background(), w.Echo().Bytes(), cache)
	if err == nil || !strings.Contains(err.Error(), "does not act on the arguments") {
		t.Error(err)
	}
	tidy(t, cache, 0)
}

func TestCancel(t *testing.T) {
	cache := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- self("forks", Limits{}).Compile(ctx, nil, cache) }()
	pid := pidOf(t, cache)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	until(t, "what the child started ends too", func() bool { return dead(pid) })
	tidy(t, cache, 0)

	// Waiting for a turn can be given up too.
	for range cap(slots) {
		slots <- struct{}{}
	}
	err := self("compile", Limits{}).Compile(ctx, nil, cache)
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
			if err := command.Compile(context.Background(), many(i%modules+1, noLocals), cache); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	tidy(t, cache, 2*modules)
	for i := range modules {
		if !engineTakes(t, cache, many(i+1, noLocals)) {
			t.Errorf("the code of module %d is not there", i)
		}
	}
}

// parent compiles with a child that hangs.
func parent(args []string) int {
	err := self("hang", Limits{}).Compile(context.Background(), nil, args[0])
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
	tidy(t, cache, 0)
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
