//go:build unix && !linux

package compiler

// tells is for Linux.
func tells([]string) int { return statusRefused }
