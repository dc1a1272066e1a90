package wasmtest

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
)

// ProgramOf is the file of a WASI program that a compiler of "zig-cc" (C), "cargo-wasi" (Rust),
// "zig" or "tinygo" has built. It is one that the engine's own WASI is tested with, and stands
// where go keeps the engine's module. With the arguments "ls" and a folder it writes the names in
// it, a line each. The error says what could not be asked of go.
func ProgramOf(language string) (string, error) {
	const engine = "github.com/tetratelabs/wazero"
	out, err := exec.Command("go", "list", "-m", "-json", engine).CombinedOutput()
	var module struct{ Dir string }
	if err == nil {
		err = json.Unmarshal(out, &module)
	}
	if err != nil || module.Dir == "" {
		return "", fmt.Errorf("asking go where %s is: %v, %s", engine, err, out)
	}
	return filepath.Join(module.Dir, "imports", "wasi_snapshot_preview1", "testdata", language, "wasi.wasm"), nil
}
