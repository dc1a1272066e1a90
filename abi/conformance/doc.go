// Package conformance proves that hosts and guests keep the contract of ABI.md: its table has a
// case for each sentence that binds one of them. docs/CONFORMANCE.md is for those who run it with
// a guest library of their own.
package conformance
