package compiler

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	w "bulkhead/internal/wasmtest"

	"github.com/tetratelabs/wazero"
)

// written is a file of the engine's, and the folder that it lay in.
func written(t testing.TB) (b []byte, folder string) {
	t.Helper()
	dir := t.TempDir()
	if err := compile(dir, w.Echo().Bytes()); err != nil {
		t.Fatal(err)
	}
	c, err := readCode(dir, DefaultCode)
	if err != nil {
		t.Fatal(err)
	}
	return c.Bytes, c.folder
}

// The engine's own files are taken, and nothing that differs from them where
// that matters.
func TestCheckCode(t *testing.T) {
	b, folder := written(t)
	if err := checkCode(b, folder); err != nil {
		t.Fatal(err)
	}
	for n := range b {
		if checkCode(b[:n], folder) == nil {
			t.Errorf("the first %d of %d bytes are taken", n, len(b))
		}
	}
	if checkCode(append(b[:len(b):len(b)], 0), folder) == nil {
		t.Error("a byte more is taken")
	}
	if checkCode(b, folder+"1") == nil {
		t.Error("another version is taken")
	}
	functions := 7 + int(b[6]) // after magic and version
	n := int(binary.LittleEndian.Uint32(b[functions:]))
	offsets := functions + 4
	for i := range b {
		for bit := range 8 {
			b[i] ^= 1 << bit
			// An offset may point elsewhere in the code.
			if err := checkCode(b, folder); err == nil && (i < offsets || i >= offsets+8*n) {
				t.Errorf("byte %d of %d may have bit %d otherwise", i, len(b), bit)
			}
			b[i] ^= 1 << bit
		}
	}
}

// What is too large for memory is not asked for.
func TestCheckCodeNumbers(t *testing.T) {
	b, folder := written(t)
	at := 7 + int(b[6])
	for _, n := range []uint32{1 << 20, 1 << 29, 1<<29 + 1, 1<<32 - 1} {
		c := append([]byte{}, b...)
		binary.LittleEndian.PutUint32(c[at:], n)
		if checkCode(c, folder) == nil {
			t.Errorf("%d functions are taken", n)
		}
	}
	length := at + 4 + 8*int(binary.LittleEndian.Uint32(b[at:]))
	for _, n := range []uint64{1 << 20, 1 << 40, 1<<63 - 1, 1 << 63, 1<<64 - 1} {
		c := append([]byte{}, b...)
		binary.LittleEndian.PutUint64(c[length:], n)
		if checkCode(c, folder) == nil {
			t.Errorf("%d bytes of code are taken", n)
		}
	}
}

// What is taken, the engine can load.
func FuzzCheckCode(f *testing.F) {
	b, folder := written(f)
	f.Add(b)
	f.Add(b[:20])
	dir := f.TempDir()
	if err := compile(dir, w.Echo().Bytes()); err != nil {
		f.Fatal(err)
	}
	found, _ := filepath.Glob(filepath.Join(dir, folder, "*"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if checkCode(b, folder) != nil {
			return
		}
		if err := os.WriteFile(found[0], b, 0o600); err != nil {
			t.Fatal(err)
		}
		cache, err := wazero.NewCompilationCacheWithDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		ctx := context.Background()
		defer cache.Close(ctx)
		r := wazero.NewRuntimeWithConfig(ctx, EngineConfig().WithCompilationCache(cache))
		defer r.Close(ctx)
		if _, err := r.CompileModule(ctx, w.Echo().Bytes()); err != nil {
			t.Errorf("the engine says %v", err)
		}
	})
}

func TestParseArgs(t *testing.T) {
	want := Limits{Memory: -1, CPU: 2 * time.Second, Wall: time.Minute, Code: 5}.filled()
	got, err := parseArgs(want.args())
	if want.Wall = 0; err != nil || got != want {
		t.Errorf("%+v becomes %+v, %v", want, got, err)
	}
	for _, args := range [][]string{
		nil, {"1", "1"}, {"1", "1", "1", "1"}, {"0", "1", "1"}, {"1", "0", "1"}, {"1", "1", "0"}, {"1", "-1", "1"}, {"1", "1", "-1"},
		{"1", "9223372036", "1"}, {"99999999999999999999", "1", "1"}, {"x", "1", "1"}, {"", "1", "1"},
	} {
		if l, err := parseArgs(args); err == nil || !strings.Contains(err.Error(), "not by hand") {
			t.Errorf("%q become %+v, %v", args, l, err)
		}
	}
}
