package main

import "time"

// The servers of the table of scripts, beside the echo in C: handlers that answer each line with
// that line.
const jsConn, luaConn, pythonConn = "js-conn", "lua-conn", "python-conn"

func scriptServers(s *settings) []server {
	on := func(plugin string) func(place) ([]string, error) {
		return guest{plugin: plugin, instance: "connection"}.run
	}
	return []server{
		{name: cConn, program: "bulkhead", rests: true, arguments: on(s.plugin)},
		{name: jsConn, program: "bulkhead", rests: true, arguments: on("guests/src/echo.js")},
		{name: luaConn, program: "bulkhead", rests: true, arguments: on("guests/src/echo.lua")},
		{name: pythonConn, program: "bulkhead", rests: true, arguments: on("guests/src/echo.py")},
	}
}

// scriptPlan is short rounds that take turns, since ratios are what is wanted, and on a busy
// machine too.
func scriptPlan(s *settings) plan {
	d := s.length(pick[time.Duration](s, 200, 400, 700) * time.Millisecond)
	p := plan{Repeats: pick(s, 1, 3, 9), Idle: pick(s, 100, 10_000, 10_000), IdleRepeats: 1, Lines: true}
	for _, n := range pick(s, []int{4}, []int{64}, []int{1, 64}) {
		p.Cells = append(p.Cells, echoCell(n, 64, 1, d))
	}
	p.Cells = append(p.Cells, churnCell(pick(s, 4, 64, 64), d))
	for i := range p.Cells {
		p.Cells[i].Job.Lines = true
	}
	return p
}
