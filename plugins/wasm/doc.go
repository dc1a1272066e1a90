// Package wasm reads the sections of a WebAssembly module, strictly. It is the
// gate in front of the engine: the engine's decoder believes the counts that
// a module states, so that a file of thirty bytes can ask it for gigabytes.
// What [Parse] has accepted states no count that the file does not bear out,
// and asks for nothing above the Max constants.
//
// It reads WebAssembly 2.0 as core modules have it, and exceptions, in both encodings, but no
// imported tags; without threads, multiple memories and the proposals after them. It decodes every
// instruction and checks every index, so that what names a thing names one that the module itself
// has, whatever a rewriter adds behind. Types of operands are left to the engine's validation.
package wasm

// What a module may ask for at most. They are above what compilers have been seen to
// produce, and low enough for the engine to digest within the limits of package
// compiler: 50,000 blocks inside one another take it some 25 s, and memory in
// proportion; large compilers' output nests a few thousand deep. Reading and rewriting
// take time and memory in proportion to the file whatever it holds, and no stack.
const (
	MaxModule    = 64 << 20 // bytes of the file
	MaxTypes     = 50_000
	MaxImports   = 1_000
	MaxFunctions = 250_000
	MaxTables    = 16
	MaxElements  = 1 << 18 // elements of all tables, and of all element segments
	MaxGrowth    = 4096    // elements that a table may grow by
	MaxGlobals   = 100_000
	MaxTags      = 1_000 // of exceptions
	MaxTagParams = 16    // of one tag
	MaxCatches   = 1_000 // of one try_table
	MaxExports   = 100_000
	MaxSegments  = 100_000 // of data, and of elements
	MaxParams    = 1_000   // and results, of one function type
	MaxLocals    = 50_000  // of one function
	MaxAllLocals = 1 << 20 // of all functions, and one for each 8 bytes of their code: the engine keeps a list of them
	MaxBody      = 1 << 20 // bytes of one function
	MaxNesting   = 50_000  // blocks inside one another, the function's own not counted
	MaxBranches  = 65_536  // labels of one br_table
	MaxName      = 1_000   // bytes of the name of an import or export
	MaxPages     = 65_536  // of memory
)

// PageSize is the size in bytes of a page of memory.
const PageSize = 64 << 10

// What the host adds to modules has these names, which no module may use: the
// start of the names of exports, and the module of imports.
const (
	ReservedPrefix = "bulkhead."
	ReservedModule = "bulkhead"
)
