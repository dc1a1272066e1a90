//go:build race

package metertest

// raceDetector reports whether the tests run under it.
const raceDetector = true
