// Package abi is the contract between the host and its guests, version 1: the
// functions a guest may import, the functions it may export, the codes, the
// limits and the legal order of callbacks.
//
// HostFunctions, GuestExports, Declarations and Codes are tables, and constants.go is read as
// one. The host registers its module from them; ABI.md, the C header and the
// bindings of the Go guest library are generated from them, and a test fails
// when a generated file is stale. ABI.md is the same contract in prose.
//
// The package imports nothing else of Bulkhead.
package abi

//go:generate go run ./generate
