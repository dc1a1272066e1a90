package admit

import (
	"bulkhead/abi"
	"bulkhead/plugins/wasi"
	"bulkhead/plugins/wasm"
)

// typeOf is the type of a function of package abi as modules have it.
func typeOf(f *abi.Function) wasm.FuncType {
	return wasm.FuncType{Params: paramTypes(f), Results: abiTypes(f.Results)}
}

func abiTypes(ts []abi.ValueType) []wasm.ValueType {
	out := make([]wasm.ValueType, len(ts))
	for i, t := range ts {
		out[i] = wasm.I32
		if t == abi.I64 {
			out[i] = wasm.I64
		}
	}
	return out
}

func paramTypes(f *abi.Function) []wasm.ValueType {
	ts := make([]abi.ValueType, len(f.Params))
	for i, p := range f.Params {
		ts[i] = p.Type
	}
	return abiTypes(ts)
}

func wasiTypes(ts []wasi.Type) []wasm.ValueType {
	out := make([]wasm.ValueType, len(ts))
	for i, t := range ts {
		out[i] = wasm.I32
		if t == wasi.I64 {
			out[i] = wasm.I64
		}
	}
	return out
}
