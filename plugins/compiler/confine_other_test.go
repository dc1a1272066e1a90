//go:build unix && !linux

package compiler

// tells is for Linux.
func tells([]string) int { return statusRefused }

// tries is for Linux.
func tries([]string) int { return statusRefused }

// trying is for Linux.
var trying Task
