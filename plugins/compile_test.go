package plugins

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/admit"
	"bulkhead/plugins/codestore"
	"bulkhead/plugins/compiler"

	"golang.org/x/sys/unix"
)

// These arguments have the test binary be a compiler, one that hangs, and one that
// leaves its code under the name of another module's.
const (
	compileRole = "compile-module"
	hangRole    = "hang"
	renameRole  = "rename"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case compileRole:
			os.Exit(compiler.Main(os.Args[2:]))
		case hangRole:
			select {}
		case renameRole:
			status := compiler.Main(os.Args[2:])
			left, _ := filepath.Glob("*/*")
			if len(left) != 1 || os.Rename(left[0], filepath.Join(filepath.Dir(left[0]), strings.Repeat("0a", 32))) != nil {
				status = 9
			}
			os.Exit(status)
		}
	}
	os.Exit(m.Run())
}

func childCompiler(t testing.TB) compiler.Command {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return compiler.Command{Args: []string{exe, compileRole}}
}

// noProgram is a compiler that cannot be started, so that nothing is compiled.
var noProgram = compiler.Command{Args: []string{"/no/such/program"}}

// openCode opens a store of compiled code.
func openCode(t testing.TB, dir string) *codestore.Store {
	t.Helper()
	s, err := OpenCode(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// codeFiles are the files of a store.
func codeFiles(t testing.TB, dir string, want int) []string {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, "code", "*"))
	if len(files) != want {
		t.Fatalf("the store has the files %q, want %d", files, want)
	}
	return files
}

// flip changes one bit of a file.
func flip(file string, at int) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	b[at] ^= 0x10
	return os.WriteFile(file, b, 0o600)
}

// apart loads a module with a compiler and sees that it runs.
func apart(t testing.TB, dir string, c compiler.Command, between func()) (log string, err error) {
	t.Helper()
	lines := &journal{}
	r := NewRuntime(RuntimeOptions{Code: openCode(t, dir), Log: lines, Compiler: c})
	defer func() {
		r.Close()
		<-r.Done()
	}()
	if between != nil {
		between()
	}
	m, err := r.Load("x.wasm", w.Echo().Bytes(), Events)
	if err != nil {
		return lines.text(), err
	}
	defer m.Close()
	i, err := m.Instantiate(listener())
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	f := &fake{room: 100}
	if i.data(open(i, f), f, 7) != 7 {
		t.Error("it does not echo")
	}
	return lines.text(), nil
}

// The second start needs no child.
func TestCompileApart(t *testing.T) {
	noLeaks(t)
	dir := filepath.Join(t.TempDir(), "cache")
	if _, err := apart(t, dir, noProgram, nil); err == nil || !strings.Contains(err.Error(), "starting the compiler /no/such/program") {
		t.Errorf("without a compiler: %v", err)
	}
	if log, err := apart(t, dir, childCompiler(t), nil); err != nil || log != "" {
		t.Fatalf("%v; the log is %q", err, log)
	}
	if log, err := apart(t, dir, noProgram, nil); err != nil || log != "" {
		t.Errorf("the second time: %v; the log is %q", err, log)
	}
}

// Whatever happens to the code that was kept, nothing but what was put is run,
// this process does not compile, and it costs one line.
func TestCompileApartWhenTheCodeIsDamaged(t *testing.T) {
	for _, c := range []struct {
		name string
		hurt func(file string) error
		log  string
	}{
		// The offset of a function, which the engine would believe.
		{"flipped", func(file string) error { return flip(file, 16+3*32+18) }, "its digest is another one"},
		{"short", func(file string) error { return os.Truncate(file, 100) }, "it has 100 bytes"},
		{"empty", func(file string) error { return os.Truncate(file, 0) }, "it has 0 bytes"},
		{"gone", os.Remove, ""},
		{"all gone", func(file string) error { return os.RemoveAll(filepath.Dir(file)) }, ""},
		{"a directory", func(file string) error {
			return errors.Join(os.Remove(file), os.MkdirAll(filepath.Join(file, "x"), 0o700))
		}, "it is no file"},
		{"a pipe", func(file string) error { return errors.Join(os.Remove(file), unix.Mkfifo(file, 0o600)) }, "it is no file"},
		{"a file for a folder", func(file string) error {
			return errors.Join(os.RemoveAll(filepath.Dir(file)), os.WriteFile(filepath.Dir(file), nil, 0o600))
		}, "not a directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "code")
			if _, err := apart(t, dir, childCompiler(t), nil); err != nil {
				t.Fatal(err)
			}
			if err := c.hurt(codeFiles(t, dir, 1)[0]); err != nil {
				t.Fatal(err)
			}
			log, err := apart(t, dir, noProgram, nil)
			if err == nil || !strings.Contains(err.Error(), "starting the compiler /no/such/program") {
				t.Errorf("without a compiler: %v", err)
			}
			if !strings.Contains(log, c.log) || strings.Count(log, "x.wasm is compiled again, since its compiled code cannot be used: ") != min(len(c.log), 1) || c.log == "" && log != "" {
				t.Errorf("the log is %q", log)
			}
			if _, err := apart(t, dir, childCompiler(t), nil); err != nil {
				t.Errorf("with a compiler: %v", err)
			}
			if log, err := apart(t, dir, noProgram, nil); err != nil || log != "" {
				t.Errorf("afterwards: %v; the log is %q", err, log)
			}
		})
	}
}

// The code of one module in the place of another's is not run.
func TestCodeIsSwapped(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "code")
	load := func(c compiler.Command) string {
		lines := &journal{}
		r := NewRuntime(RuntimeOptions{Code: openCode(t, dir), Log: lines, Compiler: c})
		for _, m := range []*w.Module{w.Echo(), callbacks("")} {
			m, err := r.Load("x.wasm", m.Bytes(), Events)
			if err != nil {
				t.Fatal(err)
			}
			m.Close()
		}
		r.Close()
		<-r.Done()
		return lines.text()
	}
	load(childCompiler(t))
	files := codeFiles(t, dir, 2)
	if err := errors.Join(os.Rename(files[0], files[0]+"0"), os.Rename(files[1], files[0]), os.Rename(files[0]+"0", files[1])); err != nil {
		t.Fatal(err)
	}
	if log := load(childCompiler(t)); strings.Count(log, "it is the code of another module") != 2 {
		t.Errorf("the log is %q", log)
	}
	if log := load(noProgram); log != "" {
		t.Errorf("afterwards the log is %q", log)
	}
}

// A child that names its code after another module's is found out, and nothing
// is kept.
func TestCompilerNamesOtherCode(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "code")
	_, err := apart(t, dir, compiler.Command{Args: []string{childCompiler(t).Args[0], renameRole}}, nil)
	if err == nil || !strings.Contains(err.Error(), "has left the code of something else") {
		t.Errorf("Load says %v", err)
	}
	codeFiles(t, dir, 0)
}

// The engine is asked whether it takes the code, and does not compile.
func TestTake(t *testing.T) {
	e, err := newEngine(engineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.release()
	b := w.Echo().Bytes()
	if _, err := e.take(b, codestore.Sum{}, nil); !errors.Is(err, errNotCached) {
		t.Errorf("taking nothing: %v", err)
	}
	var name codestore.Sum
	var made []byte
	code, err := e.compileHere(b, func(engine codestore.Sum, code []byte) { name, made = engine, code })
	if err != nil || len(made) == 0 {
		t.Fatal(err)
	}
	_ = code.Close(t.Context())
	if _, err := e.take(callbacks("").Bytes(), name, made); !errors.Is(err, errNotCached) {
		t.Errorf("taking another module's code: %v", err)
	}
	other := append([]byte{}, made...)
	other[8] ^= 1 // the version
	if _, err := e.take(b, name, other); !errors.Is(err, errNotCached) {
		t.Errorf("taking another version's code: %v", err)
	}
	if code, err = e.take(b, name, made); err != nil {
		t.Fatalf("taking what is there: %v", err)
	}
	_ = code.Close(t.Context())
}

// Closing the runtime ends a child that compiles for it.
func TestCloseWhileCompilingApart(t *testing.T) {
	noLeaks(t)
	dir := filepath.Join(t.TempDir(), "cache")
	r := NewRuntime(RuntimeOptions{Code: openCode(t, dir), Compiler: compiler.Command{Args: []string{childCompiler(t).Args[0], hangRole}}})
	done := make(chan error)
	go func() {
		_, err := r.Load("x.wasm", w.Echo().Bytes(), Events)
		done <- err
	}()
	until(t, "a child is started", func() bool {
		found, _ := filepath.Glob(dir + "/compiling-*/out")
		return len(found) == 1
	})
	start := time.Now()
	r.Close()
	<-r.Done()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "what would run it was closed meanwhile") {
		t.Errorf("Load says %v after %v", err, time.Since(start))
	}
	if left, _ := filepath.Glob(dir + "/compiling-*"); len(left) > 0 {
		t.Errorf("%q is left", left)
	}
}

// What a module is refused for is the tenant's to see; what a crash writes is
// the operator's.
func TestCompileApartFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	exe := childCompiler(t).Args[0]
	log, err := apart(t, dir, compiler.Command{Args: []string{exe, "-test.run=^$", "-test.undefined"}}, nil)
	var refusal *LoadError
	if !errors.As(err, &refusal) || !strings.Contains(err.Error(), "x.wasm: does not compile: the compiler crashed with exit status 2") || strings.Contains(err.Error(), "flag") {
		t.Errorf("Load says %v", err)
	}
	if !strings.Contains(log, "the compiler wrote: flag provided but not defined") {
		t.Errorf("the log is %q", log)
	}
	m := w.Echo()
	m.Func("", ":", "", w.I64Const(1))
	r := NewRuntime(RuntimeOptions{Code: openCode(t, dir), Compiler: childCompiler(t)})
	defer r.Close()
	if _, err = r.Load("x.wasm", m.Bytes(), Events); err == nil || !strings.Contains(err.Error(), "x.wasm: does not compile: invalid function[") {
		t.Errorf("an invalid module: %v", err)
	}
	// Nothing is started for it again, and what went wrong by itself is tried again.
	r.engine.options.compiler = compiler.Command{Args: []string{exe, "-test.run=^$", "-test.undefined"}}
	if _, err = r.Load("again.wasm", m.Bytes(), Events); err == nil || !strings.Contains(err.Error(), "again.wasm: does not compile: invalid function[") {
		t.Errorf("the invalid module, once more: %v", err)
	}
	if _, err = r.Load("x.wasm", w.Echo().Bytes(), Events); err == nil || !strings.Contains(err.Error(), "the compiler crashed") {
		t.Errorf("with a compiler that crashes: %v", err)
	}
	r.engine.options.compiler = childCompiler(t)
	x, err := r.Load("x.wasm", w.Echo().Bytes(), Events)
	if err != nil {
		t.Fatalf("after the compiler has crashed once: %v", err)
	}
	x.Close()
	for k := range 3 * mostFailed {
		r.engine.fails(codestore.Sum{byte(k)}, &compiler.Failure{})
	}
	if len(r.engine.failed) > mostFailed {
		t.Errorf("%d modules that do not compile are remembered", len(r.engine.failed))
	}
}

// What compiling in a child costs, beside compiling here.
func BenchmarkCompile(b *testing.B) {
	files, _ := filepath.Glob("../examples/*/*.wasm")
	for _, file := range files {
		code, err := admit.ReadFile(file)
		if err != nil {
			b.Fatal(err)
		}
		shape := Events
		if strings.Contains(file, "stdio") {
			shape = Stdio
		}
		load := func(b *testing.B, dir string, c compiler.Command) {
			r := NewRuntime(RuntimeOptions{Code: openCode(b, dir), Compiler: c})
			m, err := r.Load(file, code, shape)
			if err != nil {
				b.Fatal(err)
			}
			m.Close()
			r.Close()
			<-r.Done()
		}
		name := strings.TrimSuffix(filepath.Base(file), ".wasm")
		b.Run(name+"/here", func(b *testing.B) {
			for b.Loop() {
				load(b, filepath.Join(b.TempDir(), "cache"), compiler.Command{})
			}
		})
		b.Run(name+"/child", func(b *testing.B) {
			for b.Loop() {
				load(b, filepath.Join(b.TempDir(), "cache"), childCompiler(b))
			}
		})
		b.Run(name+"/cached", func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "cache")
			load(b, dir, childCompiler(b))
			for b.Loop() {
				load(b, dir, noProgram)
			}
		})
	}
}
