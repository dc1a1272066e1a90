package compiler

import (
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
