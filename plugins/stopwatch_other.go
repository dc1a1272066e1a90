//go:build !linux

package plugins

func yieldThread() {}
