package main

import "time"

// The servers of the table of WebSocket: the same echo in C over WebSocket, and over TCP.
const (
	tcpConn, tcpLoop = "tcp-conn", "tcp-loop"
	wsConn, wsLoop   = "ws-conn", "ws-loop"
)

func webSocketServers(s *settings) []server {
	over := func(name, instance, scheme, path string) server {
		return server{name: name, program: "bulkhead", rests: instance == "connection", websocket: scheme == "ws",
			arguments: guest{plugin: s.plugin, instance: instance, over: scheme, path: path}.run}
	}
	return []server{
		over(tcpConn, "connection", "tcp", ""), over(wsConn, "connection", "ws", "/echo"),
		over(tcpLoop, "loop", "tcp", ""), over(wsLoop, "loop", "ws", "/echo"),
	}
}

// webSocketPlan is short rounds that take turns, since ratios are what is wanted, and on a busy
// machine too.
func webSocketPlan(s *settings) plan {
	d := s.length(pick[time.Duration](s, 200, 400, 700) * time.Millisecond)
	p := plan{Repeats: pick(s, 1, 3, 7), Idle: pick(s, 100, 10_000, 10_000), IdleRepeats: 1}
	for _, size := range pick(s, []int{64}, []int{64, 16 << 10}, []int{64, 512, 16 << 10}) {
		for _, n := range pick(s, []int{4}, []int{64}, connections) {
			p.Cells = append(p.Cells, echoCell(n, size, 1, d))
		}
	}
	p.Cells = append(p.Cells, echoCell(pick(s, 4, 64, 64), 64, 16, d))
	return p
}
