package main

import (
	"fmt"

	"bulkhead/bench/internal/load"
)

// atMost is a goal: in every load that is of a kind, server's figure is at most limit
// times that of the best of others. The figure is the worst.
func atMost(what string, limit float64, server string, of func(point) float64, kinds []load.Kind, others ...string) goal {
	return goal{what: what, met: func(r *results) (string, bool, bool) {
		worst, at := 0.0, ""
		for _, c := range r.Plan.Cells {
			mine := r.figuresOf(server, c.Name)
			if !c.of(kinds) || len(mine.points) == 0 {
				continue
			}
			// The best of the others is the one that the ratio is largest to.
			this, ok := 0.0, false
			for _, other := range others {
				if v, has := mine.ratio(r.figuresOf(other, c.Name), of); has {
					this, ok = max(this, v), true
				}
			}
			if ok && this > worst {
				worst, at = this, c.Name
			}
		}
		return fmt.Sprintf("%.2fx (%s)", worst, at), worst < limit+0.005, at != ""
	}}
}

// inverse has a rate be a figure of which less is better.
func inverse(of func(point) float64) func(point) float64 {
	return func(p point) float64 {
		if v := of(p); v > 0 {
			return 1 / v
		}
		return 0
	}
}

func (c cell) of(kinds []load.Kind) bool {
	for _, k := range kinds {
		if c.Job.Kind == k {
			return true
		}
	}
	return false
}

// holds is a goal: a server's memory per idle connection, after an echo, is at most
// limit bytes.
func holds(what, server string, limit float64, of func(memory) float64) goal {
	return goal{what: what, met: func(r *results) (string, bool, bool) {
		m := r.memoryOf(server)
		return fmt.Sprintf("%.1f KiB", of(m)/1024), of(m) <= limit, m.samples > 0
	}}
}

func echoedRSS(m memory) float64 { return m.echoed }
func restedRSS(m memory) float64 { return m.rested }
func echoedPSS(m memory) float64 { return m.echoedPSS }

// aside is a goal that nobody has set.
func aside(g goal) goal {
	g.aside = true
	return g
}

// leaner is a goal: a server's memory per idle connection is at most limit times
// another's, untouched and after an echo. The figure is the worse of the two.
func leaner(what, server, other string, limit float64) goal {
	return goal{what: what, met: func(r *results) (string, bool, bool) {
		m, base := r.memoryOf(server), r.memoryOf(other)
		if m.samples == 0 || base.samples == 0 || base.open <= 0 || base.echoed <= 0 {
			return "", false, false
		}
		worst := max(m.open/base.open, m.echoed/base.echoed)
		return fmt.Sprintf("%.2fx", worst), worst < limit+0.005, true
	}}
}

// served is a goal: as many connections as the plan says were open, and all were
// answered.
func served(what, server string) goal {
	return goal{what: what, met: func(r *results) (string, bool, bool) {
		m := r.memoryOf(server)
		return fmt.Sprint(m.conns), m.conns == r.Plan.Idle && m.failed == 0, m.samples > 0
	}}
}

var (
	echoes = []load.Kind{load.Echo}
	visits = []load.Kind{load.Churn}
	bulk   = []load.Kind{load.Stream}

	echoGoals = []goal{
		atMost("connect-echo-close, an instance each: CPU at most 1.25x of go-net", 1.25, "bulkhead-conn", cpuOf, visits, yardstick),
		atMost("echo in connection mode: CPU within 5% of loop mode", 1.05, "bulkhead-conn", cpuOf, echoes, "bulkhead-loop"),
	}
	relayGoals = []goal{
		atMost("bulk: CPU per GB at most the better HAProxy's", 1, bulkheadRelay, cpuOf, bulk, haproxy, haproxySpliced),
		atMost("bulk: time per GB at most the better HAProxy's", 1, bulkheadRelay, inverse(rateOf), bulk, haproxy, haproxySpliced),
		atMost("messages: CPU at most the better HAProxy's", 1, bulkheadRelay, cpuOf, echoes, haproxy, haproxySpliced),
	}
	routingGoals = []goal{
		aside(atMost("by SNI, a Go handler: CPU a connection, to HAProxy's by SNI", 1, bulkheadSNI, cpuOf, visits, haproxySNI)),
		aside(atMost("by SNI: time a connection, to HAProxy's by SNI", 1, bulkheadSNI, inverse(rateOf), visits, haproxySNI)),
		aside(atMost("by SOCKS5, a Go handler: CPU a connection, to HAProxy's by SNI", 1, bulkheadSOCKS, cpuOf, visits, haproxySNI)),
		aside(atMost("by SOCKS5: time a connection, to HAProxy's by SNI", 1, bulkheadSOCKS, inverse(rateOf), visits, haproxySNI)),
		aside(atMost("always to the same, a C handler: CPU a connection, to HAProxy's of that kind", 1, "bulkhead-c", cpuOf, visits, "haproxy-tcp")),
	}
	secureGoals = []goal{
		atMost("echo: CPU within 10% of crypto/tls on goroutines", 1.10, "bulkhead-conn", cpuOf, []load.Kind{load.SecureEcho}, goTLS),
		atMost("handshakes: CPU within 10%", 1.10, "bulkhead-conn", cpuOf, []load.Kind{load.Handshakes}, goTLS),
		atMost("handshakes: time within 10%", 1.10, "bulkhead-conn", inverse(rateOf), []load.Kind{load.Handshakes}, goTLS),
		leaner("memory per idle connection: at most half", "bulkhead-conn", goTLS, 0.5),
	}
	scriptGoals = []goal{
		atMost("a line echoed in JavaScript: CPU at most 1.5x of C", 1.5, jsConn, cpuOf, echoes, cConn),
		atMost("a line echoed in Lua: CPU at most 1.2x of C", 1.2, luaConn, cpuOf, echoes, cConn),
		atMost("connect-ask-close in JavaScript: CPU at most 1.5x of C", 1.5, jsConn, cpuOf, visits, cConn),
		atMost("connect-ask-close in Lua: CPU at most 1.5x of C", 1.5, luaConn, cpuOf, visits, cConn),
		aside(atMost("a line echoed in Python: CPU, to that of C", 1.5, pythonConn, cpuOf, echoes, cConn)),
		aside(atMost("connect-ask-close in Python: CPU, to that of C", 1.5, pythonConn, cpuOf, visits, cConn)),
		holds("memory per idle connection of a script in JavaScript, awake: RSS at most 40 KiB, a page of the snapshot counted once (PSS)", jsConn, 40<<10, echoedPSS),
		holds("the same, when they have been idle for 6 s: RSS at most 2 KiB", jsConn, 2<<10, restedRSS),
		aside(holds("memory per idle connection of a script in Python, awake (PSS)", pythonConn, 40<<10, echoedPSS)),
		aside(holds("the same, when they have been idle for 6 s (RSS)", pythonConn, 2<<10, restedRSS)),
	}
	respGoals = []goal{
		atMost("commands one at a time: CPU at most 2x of Redis' (half its throughput a core)", 2, bulkheadRESP, cpuOf, []load.Kind{commands}, redisServer),
		aside(atMost("commands in pipelines of 16: CPU, to that of Redis", 2, bulkheadRESP, cpuOf, []load.Kind{pipelined}, redisServer)),
	}
	httpGoals = []goal{
		aside(atMost("requests: CPU, to that of nginx", 2, bulkheadHTTP, cpuOf, []load.Kind{requests}, nginx)),
	}
	webSocketGoals = []goal{
		atMost("messages a second over WebSocket: within 1.3x of TCP", 1.3, wsConn, inverse(rateOf), echoes, tcpConn),
		atMost("the same with an instance for a loop", 1.3, wsLoop, inverse(rateOf), echoes, tcpLoop),
		aside(atMost("CPU a message over WebSocket, to that over TCP", 1.3, wsConn, cpuOf, echoes, tcpConn)),
		leaner("memory per idle connection: within 1.3x of TCP", wsConn, tcpConn, 1.3),
		leaner("the same with an instance for a loop", wsLoop, tcpLoop, 1.3),
	}
	instanceGoals = []goal{
		atMost("connect-echo-close, C: CPU at most 1.25x of go-net", 1.25, cConn, cpuOf, visits, yardstick),
		atMost("echo in connection mode, C: CPU within 5% of loop mode", 1.05, cConn, cpuOf, echoes, cLoop),
		atMost("echo in connection mode, Go: CPU within 5% of loop mode", 1.05, goConn, cpuOf, echoes, goLoop),
		holds("memory per idle connection with a live instance, C: RSS at most 24 KiB", cConn, 24<<10, echoedRSS),
		holds("the same, Go: at most 64 KiB, a page of the snapshot counted once (PSS)", goConn, 64<<10, echoedPSS),
		aside(holds("the same, Go, the snapshot's pages counted in each instance that looked at them (RSS)", goConn, 64<<10, echoedRSS)),
		holds("the same, Go, when they have been idle for 6 s: RSS at most 64 KiB", goConn, 64<<10, restedRSS),
		served("Go guests at once, with live instances: all that were asked for", goConn),
	}
)
