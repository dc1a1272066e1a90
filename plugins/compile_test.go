package plugins

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bulkhead/plugins/compiler"
	w "bulkhead/plugins/wasmtest"
)

// These arguments have the test binary be a compiler, and one that hangs.
const (
	compileRole = "compile-module"
	hangRole    = "hang"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case compileRole:
			os.Exit(compiler.Main(os.Args[2:]))
		case hangRole:
			select {}
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

// apart loads a module with a compiler and sees that it runs.
func apart(t testing.TB, dir string, c compiler.Command, between func()) (log string, err error) {
	t.Helper()
	lines := &journal{}
	r, err := NewRuntime(RuntimeOptions{CacheDir: dir, Log: lines, Compiler: c})
	if err != nil {
		t.Fatal(err)
	}
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

// Whatever happens to the cache, this process does not compile.
func TestCompileApartWhenTheCacheFails(t *testing.T) {
	for _, c := range []struct {
		name string
		hurt func(file string) error
		log  string
	}{
		{"flipped", func(file string) error {
			b, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			b[len(b)/2] ^= 0xff
			return os.WriteFile(file, b, 0o600)
		}, "is damaged, so it is emptied"},
		{"short", func(file string) error { return os.Truncate(file, 100) }, "is damaged, so it is emptied"},
		{"empty", func(file string) error { return os.Truncate(file, 0) }, "is damaged, so it is emptied"},
		{"gone", os.Remove, ""},
		{"all gone", func(file string) error { return os.RemoveAll(filepath.Dir(file)) }, ""},
		{"another version", func(file string) error {
			b, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			b[8] ^= 1
			return os.WriteFile(file, b, 0o600)
		}, ""},
		{"a directory", func(file string) error { return errors.Join(os.Remove(file), os.Mkdir(file, 0o700)) }, "compile"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "cache")
			if _, err := apart(t, dir, childCompiler(t), nil); err != nil {
				t.Fatal(err)
			}
			files, _ := filepath.Glob(dir + "/*/*")
			var file string
			for _, f := range files {
				if !strings.HasSuffix(f, ".compiled") {
					file = f
				}
			}
			hurt := func() {
				if err := c.hurt(file); err != nil {
					t.Fatal(err)
				}
			}
			log, err := apart(t, dir, noProgram, hurt)
			if err == nil || !strings.Contains(err.Error(), "starting the compiler /no/such/program") {
				t.Errorf("without a compiler: %v", err)
			}
			if !strings.Contains(log, c.log) || c.log == "" && log != "" {
				t.Errorf("the log is %q", log)
			}
			if _, err := apart(t, dir, childCompiler(t), nil); err != nil {
				t.Errorf("with a compiler: %v", err)
			}
		})
	}
}

// The engine is asked whether it has the code, and does not compile it.
func TestFromCache(t *testing.T) {
	r, err := NewRuntime(RuntimeOptions{CacheDir: filepath.Join(t.TempDir(), "cache")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		r.Close()
		<-r.Done()
	}()
	if _, err := r.fromCache(w.Echo().Bytes()); !errors.Is(err, errNotCached) {
		t.Errorf("taking what is not there: %v", err)
	}
	code, err := r.compileOnce(w.Echo().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	again, err := r.fromCache(w.Echo().Bytes())
	if err != nil {
		t.Errorf("taking what is there: %v", err)
	}
	_ = again.Close(t.Context())
	_ = code.Close(t.Context())
}

// Closing the runtime ends a child that compiles for it.
func TestCloseWhileCompilingApart(t *testing.T) {
	noLeaks(t)
	dir := filepath.Join(t.TempDir(), "cache")
	r, err := NewRuntime(RuntimeOptions{CacheDir: dir, Compiler: compiler.Command{Args: []string{childCompiler(t).Args[0], hangRole}}})
	if err != nil {
		t.Fatal(err)
	}
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
	if err := <-done; err == nil || !strings.Contains(err.Error(), "its tenant's runtime was closed meanwhile") {
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
	r, err := NewRuntime(RuntimeOptions{CacheDir: dir, Compiler: childCompiler(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err = r.Load("x.wasm", m.Bytes(), Events); err == nil || !strings.Contains(err.Error(), "x.wasm: does not compile: invalid function[") {
		t.Errorf("an invalid module: %v", err)
	}
}

// What compiling in a child costs, beside compiling here.
func BenchmarkCompile(b *testing.B) {
	files, _ := filepath.Glob("../examples/*/*.wasm")
	for _, file := range files {
		code, err := ReadFile(file)
		if err != nil {
			b.Fatal(err)
		}
		shape := Events
		if strings.Contains(file, "stdio") {
			shape = Stdio
		}
		load := func(b *testing.B, dir string, c compiler.Command) {
			r, err := NewRuntime(RuntimeOptions{CacheDir: dir, Compiler: c})
			if err != nil {
				b.Fatal(err)
			}
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
