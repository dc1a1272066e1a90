package main

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// contest is one table: who, under what, beside whom.
type contest struct {
	title string
	// yardstick is the server that the others are put in ratio to.
	yardstick string
	servers   func(*settings) []server
	plan      func(*settings) plan
	// tool puts the loads on the servers; nil: our load generator does.
	tool *tool
	// goals are what the project has promised about it; nil: nothing.
	goals []goal
}

// goal is a promise, which a finished run has kept or not.
type goal struct {
	what string
	// aside says that nothing was promised, and the figure is only to be looked at.
	aside bool
	// met returns the figure, and whether it is good enough; ok is false where the
	// run does not have what the figure takes.
	met func(*results) (figure string, good, ok bool)
}

var tables map[string]*contest

func init() {
	tables = map[string]*contest{
		"echo":      {title: "echo", yardstick: yardstick, servers: echoServers, plan: echoPlan, goals: echoGoals},
		"relay":     {title: "relaying", yardstick: haproxy, servers: relayServers, plan: relayPlan, goals: relayGoals},
		"routing":   {title: "connections relayed to where their client says", yardstick: haproxySNI, servers: routingServers, plan: routingPlan, goals: routingGoals},
		"tls":       {title: "echo over TLS", yardstick: goTLS, servers: secureServers, plan: securePlan, goals: secureGoals},
		"scripts":   {title: "lines echoed by scripts", yardstick: cConn, servers: scriptServers, plan: scriptPlan, goals: scriptGoals},
		"resp":      {title: "Redis' commands", yardstick: redisServer, servers: respServers, plan: respPlan, goals: respGoals, tool: redisBenchmark},
		"http":      {title: "pages over HTTP/1.1", yardstick: nginx, servers: httpServers, plan: httpPlan, goals: httpGoals, tool: wrk},
		"websocket": {title: "echo over WebSocket and over TCP", yardstick: tcpConn, servers: webSocketServers, plan: webSocketPlan, goals: webSocketGoals},
		"instances": {title: "instances", yardstick: yardstick, servers: instanceServers, plan: instancePlan, goals: instanceGoals},
	}
}

func tableNames() string {
	return strings.Join(slices.Sorted(maps.Keys(tables)), ", ")
}

// of is the table that the results are of.
func (r *results) of() *contest {
	if t := tables[r.Table]; t != nil {
		return t
	}
	return tables["echo"]
}

// length is how long one measurement lasts: d, unless the command line says otherwise.
func (s *settings) length(d time.Duration) time.Duration {
	if s.duration > 0 {
		return s.duration
	}
	return d
}

// pick returns one of three by the mode.
func pick[T any](s *settings, smoke, quick, full T) T {
	switch {
	case s.smoke:
		return smoke
	case s.quick:
		return quick
	}
	return full
}
