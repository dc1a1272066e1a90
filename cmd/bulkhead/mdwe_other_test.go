//go:build !linux

package main

func hasMDWE() bool { return false }

func mdwe() { panic("there is no such thing here") }
