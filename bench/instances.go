package main

import "time"

// The servers of the table of instances, beside the yardstick: the echo in C and the
// echo in Go, with an instance for a loop, one for a connection from a snapshot, and one
// for a connection that is started anew.
const (
	cLoop, cConn, cPlain    = "c-loop", "c-conn", "c-plain"
	goLoop, goConn, goPlain = "go-loop", "go-conn", "go-plain"
)

func instanceServers(s *settings) []server {
	const goEcho = "guests/src/echogo.wasm"
	const plainly = "snapshot = false\n"
	return []server{
		{name: yardstick, program: "gonet", arguments: plain},
		{name: cLoop, program: "bulkhead", arguments: guest{plugin: s.plugin, instance: "loop"}.run},
		{name: cConn, program: "bulkhead", rests: true, arguments: guest{plugin: s.plugin, instance: "connection"}.run},
		{name: cPlain, program: "bulkhead", arguments: guest{plugin: s.plugin, instance: "connection", extra: plainly}.run},
		{name: goLoop, program: "bulkhead", arguments: guest{plugin: goEcho, instance: "loop"}.run},
		{name: goConn, program: "bulkhead", rests: true, arguments: guest{plugin: goEcho, instance: "connection"}.run},
		// An instance takes 3.5 MiB and 5 ms.
		{name: goPlain, program: "bulkhead", idle: 500, arguments: guest{plugin: goEcho, instance: "connection", extra: plainly}.run},
	}
}

func instancePlan(s *settings) plan {
	d := s.length(pick[time.Duration](s, 200, 400, 700) * time.Millisecond)
	p := plan{Repeats: pick(s, 1, 2, 4), Idle: pick(s, 100, 10_000, 10_000), IdleRepeats: 1}
	for _, n := range pick(s, []int{4}, []int{1, 64}, connections) {
		p.Cells = append(p.Cells, echoCell(n, 64, 1, d))
	}
	for _, n := range pick(s, []int{4}, []int{64}, connections) {
		p.Cells = append(p.Cells, churnCell(n, d))
	}
	return p
}
