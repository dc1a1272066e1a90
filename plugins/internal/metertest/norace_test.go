//go:build !race

package metertest

// raceDetector reports whether the tests run under the race detector.
const raceDetector = false
