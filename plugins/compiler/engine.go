package compiler

import (
	"runtime"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// EngineConfig is how the engine is set up wherever modules are compiled. Code
// is kept under a name that does not depend on it, so whoever compiles and
// whoever runs have to start from the same one. The limit of memory and the
// cache are for the caller to add: no code depends on them.
func EngineConfig() wazero.RuntimeConfig {
	return wazero.NewRuntimeConfigCompiler().
		WithCoreFeatures(api.CoreFeaturesV2).
		WithDebugInfoEnabled(false).
		WithCloseOnContextDone(false)
}

// enginePath is where the engine comes from.
const enginePath = "github.com/tetratelabs/wazero"

// Engine says what makes the code, and for what: the engine's version and the
// sum of its source, the version of Go, the system and the architecture. Code
// of one is of no use to another. What the processor can do is in the name
// that the engine has for the code.
var Engine = sync.OnceValue(func() string {
	what := []string{"wazero", runtime.Version(), runtime.GOOS, runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path != enginePath {
				continue
			}
			for ; d != nil; d = d.Replace {
				what = append(what, d.Path, d.Version, d.Sum)
			}
			break
		}
	}
	return strings.Join(what, " ")
})
