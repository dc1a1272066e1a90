package inside

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"testing"

	w "bulkhead/internal/wasmtest"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// start runs a module on the engine, whose cache may be nil.
func start(t *testing.T, b []byte, cache wazero.CompilationCache) (api.Module, error) {
	t.Helper()
	ctx := context.Background()
	config := wazero.NewRuntimeConfigCompiler()
	if cache != nil {
		config = config.WithCompilationCache(cache)
	}
	r := wazero.NewRuntimeWithConfig(ctx, config)
	t.Cleanup(func() { _ = r.Close(ctx) })
	return r.Instantiate(ctx, b)
}

// noStack has Stack find nothing in functions that are not the engine's own.
func noStack(t *testing.T) {
	t.Helper()
	for name, f := range map[string]api.Function{"nil": nil, "value": foreign{}, "pointer": &foreign{}, "other": &otherStack{stack: []uint64{1}}} {
		if stack, err := Stack(f); err == nil || stack != nil {
			t.Errorf("%s: it has the stack %v", name, stack)
		}
	}
}

// The stack of a function is the one that a call grows. What has none is told apart from it,
// whichever is looked at first.
func TestStack(t *testing.T) {
	lastPlace.Store(nil) // as if the process had just started
	noStack(t)
	m := w.New()
	m.Memory(1)
	m.Func("down", "i:i", "", w.LocalGet(0), w.If(w.LocalGet(0), w.I32Const(-1), w.I32Add, w.Call(0), w.Drop), w.LocalGet(0))
	g, err := start(t, m.Bytes(), nil)
	if err != nil {
		t.Fatal(err)
	}
	down := g.ExportedFunction("down")
	stack, err := Stack(down)
	if err != nil {
		t.Fatal(err)
	}
	before := len(*stack)
	if _, err := down.Call(context.Background(), 100_000); err != nil {
		t.Fatal(err)
	}
	if before == 0 || len(*stack) < 2*before || len(*stack) < 100_000*8 {
		t.Errorf("its stack has %d bytes, and %d when it was 100,000 calls deep", before, len(*stack))
	}
	noStack(t)
	if again, err := Stack(down); err != nil || again != stack {
		t.Errorf("its stack is found elsewhere, %v", err)
	}
}

// foreign is a function of a type that the engine has none of.
type foreign struct{ api.Function }

type otherStack struct {
	api.Function
	stack []uint64
}

// What the word is, the guest's global is, and the other way round.
func TestWord(t *testing.T) {
	ctx := context.Background()
	m := w.New()
	m.Memory(1)
	other, fuel := m.Global('I', true, w.I64Const(7)), m.Global('I', true, w.I64Const(5))
	m.Export("other", 3, other)
	m.Export("fuel", 3, fuel)
	m.Func("get", ":I", "", w.GlobalGet(fuel))
	m.Func("set", "I:", "", w.LocalGet(0), w.GlobalSet(fuel))
	g, err := start(t, m.Bytes(), nil)
	if err != nil {
		t.Fatal(err)
	}
	word, err := Word(g.ExportedGlobal("fuel").(api.MutableGlobal))
	if err != nil {
		t.Fatal(err)
	}
	if *word != 0 {
		t.Errorf("it is %d at first", *word)
	}
	*word = 1 << 40
	if got, err := g.ExportedFunction("get").Call(ctx); err != nil || got[0] != 1<<40 {
		t.Errorf("the guest sees %v, %v", got, err)
	}
	if _, err := g.ExportedFunction("set").Call(ctx, 99); err != nil || *word != 99 {
		t.Errorf("the guest has set it to %d, %v", *word, err)
	}
	if got := g.ExportedGlobal("other").Get(); got != 7 {
		t.Errorf("the other global is %d", got)
	}
}

// global is one of a type that the engine has none of.
type global struct{ api.MutableGlobal }

func TestNoWord(t *testing.T) {
	for name, g := range map[string]api.MutableGlobal{"nil": nil, "value": global{}, "pointer": &global{}} {
		if word, err := Word(g); err == nil || word != nil {
			t.Errorf("%s: it has the word %v", name, word)
		}
	}
}

// code keeps what the engine has compiled, and gives it back.
type code struct {
	kept map[[sha256.Size]byte][]byte
	only bool
	got  int
}

var errOnly = errors.New("nothing may be compiled")

func (c *code) Get(engine [sha256.Size]byte) (io.ReadCloser, bool, error) {
	if b, ok := c.kept[engine]; ok {
		c.got++
		return io.NopCloser(bytes.NewReader(b)), true, nil
	}
	if c.only {
		return nil, false, errOnly
	}
	return nil, false, nil
}

func (c *code) Add(engine [sha256.Size]byte, content io.Reader) error {
	b, err := io.ReadAll(content)
	c.kept[engine] = b
	return err
}

func (c *code) Delete([sha256.Size]byte) error { return nil }

// The engine asks for code before it compiles, takes what it is given, and compiles nothing where
// that is an error.
func TestCache(t *testing.T) {
	library := func(answer int64) []byte {
		m := w.New()
		m.Memory(1)
		m.Func("f", ":I", "", w.I64Const(answer))
		return m.Bytes()
	}
	c := &code{kept: make(map[[sha256.Size]byte][]byte)}
	for n := range 3 {
		cache, err := CacheOf(c)
		if err != nil {
			t.Fatal(err)
		}
		c.only = n == 2
		g, err := start(t, library(5), cache)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := g.ExportedFunction("f").Call(context.Background()); err != nil || got[0] != 5 {
			t.Errorf("it answers %v, %v", got, err)
		}
		if len(c.kept) != 1 || c.got != n {
			t.Errorf("in round %d %d are kept, and it was given one %d times", n, len(c.kept), c.got)
		}
		if !c.only {
			continue
		}
		if _, err := start(t, library(6), cache); err == nil || !strings.Contains(err.Error(), errOnly.Error()) {
			t.Errorf("it compiles what it must not: %v", err)
		}
	}
}
