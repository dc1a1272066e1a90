package toolchain

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
)

const (
	rustTarget  = "wasm32-unknown-unknown"
	installRust = "rustup target add " + rustTarget + " (where rustup has installed Rust), or apt-get install cargo libstd-rust-dev-wasm32 lld-14 (Debian 12)"
)

// rustFlags make a module small, and let it copy memory at once. Cargo.toml cannot say them, so
// a project of bulkhead new has them in .cargo/config.toml.
var rustFlags = []string{"-C", "link-arg=-zstack-size=65536", "-C", "link-arg=--stack-first", "-C", "target-feature=+bulk-memory"}

// buildRust takes the compiler that has a library for WebAssembly: that on PATH, or else Debian's,
// which a rustup before it on PATH hides.
func buildRust(b *build) error {
	var rustc string
	for _, name := range []string{"rustc", "/usr/bin/rustc"} {
		path, ok := look(name)
		if !ok {
			continue
		}
		library := filepath.Join(b.output(path, "--print", "sysroot"), "lib", "rustlib", rustTarget, "lib")
		if found, _ := filepath.Glob(filepath.Join(library, "libcore-*.rlib")); len(found) > 0 {
			rustc = path
			break
		}
	}
	if rustc == "" {
		return b.missing("rustc with the target " + rustTarget)
	}
	if len(b.files) == 1 {
		args := append([]string{"--target", rustTarget, "--crate-type", "cdylib", "--edition", "2021", "-C", "opt-level=s", "-C", "panic=abort", "-g"}, rustFlags...)
		return b.call(nil, rustc, append(args, "-o", b.out, b.files[0])...)
	}
	cargo, ok := look(filepath.Join(filepath.Dir(rustc), "cargo"))
	if !ok {
		return b.missing("cargo beside " + rustc)
	}
	// A cargo and a rustc of different makers do not go together.
	env := []string{"RUSTC=" + rustc}
	if !b.has(filepath.Join(".cargo", "config.toml")) {
		env = append(env, "CARGO_ENCODED_RUSTFLAGS="+strings.Join(rustFlags, "\x1f"))
	}
	var messages bytes.Buffer
	if _, err := b.callWith(env, &messages, cargo, "build", "--quiet", "--release", "--target", rustTarget, "--message-format=json-render-diagnostics"); err != nil {
		return err
	}
	made := ""
	for line := range bytes.Lines(messages.Bytes()) {
		var m struct {
			Reason    string
			Filenames []string
		}
		if json.Unmarshal(line, &m) != nil || m.Reason != "compiler-artifact" {
			continue
		}
		for _, name := range m.Filenames {
			if strings.HasSuffix(name, ".wasm") {
				made = name
			}
		}
	}
	if made == "" {
		return &failed{"cargo", errNoLibrary, `Cargo.toml needs a [lib] with crate-type = ["cdylib"]`}
	}
	module, err := os.ReadFile(made)
	if err != nil {
		return err
	}
	return os.WriteFile(b.out, module, 0o600)
}
