package plugins

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	w "bulkhead/internal/wasmtest"
)

// On a full disk nothing can be compiled. The error says so, and where, and not that
// the module was at fault; when there is room, it is compiled.
func TestFullDisk(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("none", disk, "tmpfs", 0, "size=128k,mode=700"); err != nil {
		t.Skipf("a small disk cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	dir := filepath.Join(disk, "code")
	store := openCode(t, dir)
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	r := NewRuntime(RuntimeOptions{Code: store, Compiler: childCompiler(t)})
	defer func() {
		r.Close()
		<-r.Done()
	}()
	_, err := r.Load("x.wasm", w.Echo().Bytes(), Events)
	var refusal *LoadError
	if !errors.Is(err, syscall.ENOSPC) || errors.As(err, &refusal) || !strings.Contains(err.Error(), "x.wasm: it cannot be compiled now, which is not its fault: the disk is full: ") || !strings.Contains(err.Error(), dir) {
		t.Errorf("with a full disk: %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	m, err := r.Load("x.wasm", w.Echo().Bytes(), Events)
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	codeFiles(t, dir, 1)
}
