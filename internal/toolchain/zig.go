package toolchain

import (
	"path/filepath"
	"strings"
)

// buildZig calls the compiler on the handler's file: build.zig is not run, since what it makes is
// its own choice. The handler's own checks stay in the module, since it reads bytes of strangers:
// without them an index that is too great reads what stands behind. So do the lines of the source,
// for traces.
func buildZig(b *build) error {
	zig, ok := look("zig")
	if !ok {
		if zig, ok = b.above("node_modules", "*", "zig*", "zig"); !ok {
			return b.missing("zig")
		}
	}
	file := "src/main.zig"
	if len(b.files) == 1 {
		file = b.files[0]
	} else if !b.has(file) {
		return &failed{"zig", errNoEntry, "the handler is looked for in src/main.zig; or name its file"}
	}
	// Since version 0.12 a module without a start function is an executable.
	args := []string{"build-exe", file, "-fno-entry"}
	if version := b.output(zig, "version"); strings.HasPrefix(version, "0.11.") {
		args = []string{"build-lib", file, "-dynamic"}
	}
	args = append(args, "-target", "wasm32-freestanding", "-rdynamic", "-O", "ReleaseSafe", "--stack", "65536", "-femit-bin="+b.out, "--cache-dir", filepath.Join(b.temp, "cache"))
	return b.call(nil, zig, args...)
}
