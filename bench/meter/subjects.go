package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"bulkhead/bench/guests"
)

// subject is something to measure: a module, and what is done with it.
type subject struct {
	name string
	what string // a turn, for the reader
	code func(s *settings) ([]byte, error)
	// start readies a new instance and returns a turn: it does its work as often as
	// it is told, and returns a sum over the results.
	start func(g *guest) (turn, error)
	micro bool // it is no program: it stands below the table, and is not in the mean
}

// turn does a subject's work n times.
type turn func(n uint32) (sum uint64, err error)

func shipped(name string) func(*settings) ([]byte, error) {
	return func(*settings) ([]byte, error) { return guests.Code(name) }
}

func example(path string) func(*settings) ([]byte, error) {
	return func(s *settings) ([]byte, error) { return os.ReadFile(filepath.Join(s.examples, path)) }
}

// subjects are all there is, in the order of the table.
var subjects = []subject{
	{name: "http", what: "4 requests, pipelined", code: shipped("http"), start: program},
	{name: "redis", what: "64 commands of RESP", code: shipped("redis"), start: program},
	{name: "json", what: "2 KiB parsed and written", code: shipped("json"), start: program},
	{name: "sha256", what: "16 KiB", code: shipped("sha256"), start: program},
	{name: "base64", what: "12 KiB there and back", code: shipped("base64"), start: program},
	{name: "crc32", what: "16 KiB, and Adler-32", code: shipped("crc32"), start: program},
	{name: "lz", what: "16 KiB packed and unpacked", code: shipped("lz"), start: program},
	{name: "sort", what: "2048 numbers, 512 records twice", code: shipped("sort"), start: program},
	{name: "glob", what: "8 patterns on 14 names", code: shipped("glob"), start: program},
	{name: "vm", what: "a program of bytecode", code: shipped("vm"), start: program},
	{name: "echo", what: "an event of 64 bytes", code: example("echo/echo.wasm"), start: echo},
	{name: "chat (Go)", what: "a line to 7 others", code: example("chat/chat.wasm"), start: chat},

	{name: "tight loop", what: "10,000 turns", code: shipped("micro"), start: loop, micro: true},
	{name: "calls", what: "fib(20)", code: shipped("micro"), start: fib, micro: true},
	{name: "empty call", what: "from the host", code: shipped("micro"), start: empty, micro: true},
}

// program is a module with prepare and run, as guests/guest.h has them.
func program(g *guest) (turn, error) {
	if _, err := g.call("prepare"); err != nil {
		return nil, err
	}
	return func(n uint32) (uint64, error) { return g.call("run", uint64(n)) }, nil
}

// times calls a function anew for each turn.
func times(g *guest, name string, args ...uint64) turn {
	return func(n uint32) (sum uint64, err error) {
		for ; n > 0; n-- {
			v, err := g.call(name, args...)
			if err != nil {
				return 0, err
			}
			sum += v
		}
		return sum, nil
	}
}

func loop(g *guest) (turn, error)  { return times(g, "loop", 10_000), nil }
func fib(g *guest) (turn, error)   { return times(g, "fib", 20), nil }
func empty(g *guest) (turn, error) { return times(g, "prepare"), nil }

// window starts a handler as the host does, and returns where its input goes.
func window(g *guest) (at uint32, err error) {
	for _, name := range []string{"_initialize", "csa_start"} {
		if !g.exports(name) {
			continue
		}
		v, err := g.call(name)
		if err != nil {
			return 0, err
		}
		if int32(v) < 0 {
			return 0, fmt.Errorf("%s answered %d", name, int32(v))
		}
	}
	v, err := g.call("csa_window")
	return uint32(v >> 32), err
}

func echo(g *guest) (turn, error) {
	at, err := window(g)
	if err != nil {
		return nil, err
	}
	if !g.module.Memory().WriteString(at, strings.Repeat("01234567", 8)) {
		return nil, fmt.Errorf("the echo's window at %#x has no room for 64 bytes", at)
	}
	return times(g, "csa_data", 1, 64), nil
}

// chat has a room of eight. They speak in turn, and each line goes to the seven others.
func chat(g *guest) (turn, error) {
	const members = 8
	at, err := window(g)
	if err != nil {
		return nil, err
	}
	say := func(member int, line string) error {
		if !g.module.Memory().WriteString(at, line) {
			return fmt.Errorf("the chat's window at %#x has no room for %q", at, line)
		}
		v, err := g.call("csa_data", uint64(member), uint64(len(line)))
		if err == nil && int(int32(v)) != len(line) {
			err = fmt.Errorf("csa_data answered %d to %q", int32(v), line)
		}
		return err
	}
	for m := 1; m <= members; m++ {
		v, err := g.call("csa_open", uint64(m))
		if err == nil && int32(v) < 0 {
			err = fmt.Errorf("csa_open answered %d", int32(v))
		}
		if err == nil {
			err = say(m, fmt.Sprintf("sailor%d\n", m))
		}
		if err != nil {
			return nil, err
		}
	}
	next := 0
	return func(n uint32) (uint64, error) {
		sent := g.sent
		for ; n > 0; n-- {
			next = next%members + 1
			if err := say(next, "the pump room is dry, we are closing the doors\n"); err != nil {
				return 0, err
			}
		}
		return g.sent - sent, nil
	}, nil
}
