//go:build !linux

package main

func filtered() { panic("there is no such thing here") }
