package wasm

// proposal is an extension of WebAssembly 2.0 that is not supported, and what has a
// module built without it: a clause that goes on from what is wrong.
type proposal struct{ name, mend string }

var (
	tailCalls = proposal{"tail calls",
		"build it with -mno-tail-call (rustc: -C target-feature=-tail-call)"}
	threads = proposal{"threads",
		"build it without -pthread and with -mno-atomics (rustc: -C target-feature=-atomics)"}
	garbageCollection = proposal{"garbage collection",
		"no flag turns it off in languages that rest on it, such as Kotlin and Dart, so write it in one that has a memory of its own (MoonBit: --target wasm)"}
	functionReferences = proposal{"typed function references",
		"build it without garbage collection, which brings them in (wasm-opt: without -all and --enable-gc)"}
	memory64 = proposal{"memory64",
		"build it for 32 bits (clang: --target=wasm32; rustc: --target wasm32-wasip1; Emscripten: without -sMEMORY64)"}
	multiMemory = proposal{"multi-memory",
		"link it with one memory, or have wasm-opt --multi-memory-lowering make one of them"}
	customPages = proposal{"custom page sizes",
		"link it with pages of 64 KiB (wasm-ld: without --page-size)"}
	relaxedSIMD = proposal{"relaxed SIMD",
		"build it with -mno-relaxed-simd (rustc: -C target-feature=-relaxed-simd)"}
	halfPrecision = proposal{"half precision",
		"build it with -mno-fp16"}
	wideArithmetic = proposal{"wide arithmetic",
		"build it with -mno-wide-arithmetic (rustc: -C target-feature=-wide-arithmetic)"}
	extendedConstants = proposal{"extended constant expressions",
		"build it with -mno-extended-const (rustc: -C target-feature=-extended-const)"}
)

// ForPreview1 is the mend of what is built for a later WASI than preview 1.
const ForPreview1 = "build it for WASI preview 1 (Go: GOOS=wasip1; rustc: --target wasm32-wasip1; TinyGo: -target=wasip1)"

// ofProposal is a fault that is the use of a proposal. The clause ends with a noun.
func (r *reader) ofProposal(p proposal, format string, args ...any) {
	if r.err == nil {
		r.fail(format+" of the proposal %q, which is not supported", append(args, p.name)...)
		r.err.Mend = p.mend
	}
}

// unsupported says of an opcode byte that is not of WebAssembly 2.0 what it would be
// elsewhere; "" when nobody knows.
func unsupported(b byte) (name string, of proposal) {
	switch b {
	case 0x12, 0x13, 0x15:
		return map[byte]string{0x12: "return_call", 0x13: "return_call_indirect", 0x15: "return_call_ref"}[b], tailCalls
	case 0x14, 0xd4, 0xd5, 0xd6:
		return map[byte]string{0x14: "call_ref", 0xd4: "ref.as_non_null", 0xd5: "br_on_null", 0xd6: "br_on_non_null"}[b], functionReferences
	case 0xd3:
		return "ref.eq", garbageCollection
	case 0xfb:
		return "0xfb", garbageCollection
	case 0xfe:
		return "0xfe", threads
	}
	return "", proposal{}
}

// unsupportedType is unsupported for the byte of a value's type.
func unsupportedType(b byte) (name string, of proposal) {
	switch b {
	case 0x63, 0x64:
		return "reference", functionReferences
	case 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x71, 0x72, 0x73, 0x74:
		return map[byte]string{0x6a: "arrayref", 0x6b: "structref", 0x6c: "i31ref", 0x6d: "eqref", 0x6e: "anyref",
			0x71: "nullref", 0x72: "nullexternref", 0x73: "nullfuncref", 0x74: "nullexnref"}[b], garbageCollection
	}
	return "", proposal{}
}
