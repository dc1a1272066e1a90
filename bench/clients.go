package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"bulkhead/bench/internal/load"
)

// The servers of the tables whose clients are others' load generators.
const (
	redisServer  = "redis-server"
	bulkheadRESP = "bulkhead-resp"
	nginx        = "nginx"
	bulkheadHTTP = "bulkhead-http"
)

// respServers are the contestants of the table of Redis' commands: each has one loop for all its
// clients, and keeps nothing on a disk.
func respServers(*settings) []server {
	ping := &load.Step{Send: []byte("PING\r\n"), Expect: []byte("+PONG\r\n")}
	redis := rival(redisServer, "redis-server", func(at place) ([]string, error) {
		host, port, _ := strings.Cut(at.address, ":")
		return []string{"--bind", host, "--port", port, "--dir", at.dir, "--save", "", "--appendonly", "no"}, nil
	})
	redis.asks = ping
	resp := guest{plugin: "../examples/resp/resp.wasm", instance: "listener"}
	return []server{redis, {name: bulkheadRESP, program: "bulkhead", asks: ping, arguments: resp.run}}
}

// respPlan has 50 clients, as redis-benchmark has by itself, and 10,000 keys.
func respPlan(s *settings) plan {
	d := s.length(pick[time.Duration](s, 50, 500, 1500) * time.Millisecond)
	p := plan{Repeats: pick(s, 1, 3, 7)}
	// How many fit into that time is a guess at what one core can do, since no time can be asked
	// for.
	for _, deep := range []struct {
		pipeline, second int
		kind             load.Kind
	}{{1, 60_000, commands}, {16, 500_000, pipelined}} {
		for _, test := range pick(s, []string{"get"}, []string{"set", "get"}, []string{"ping_mbulk", "set", "get", "incr"}) {
			name, _, _ := strings.Cut(strings.ToUpper(test), "_")
			p.Cells = append(p.Cells, cell{
				Name:  fmt.Sprintf("50 x %s, %d deep", name, deep.pipeline),
				Job:   load.Job{Kind: deep.kind, Conns: 50, Pipeline: deep.pipeline, Duration: d},
				Args:  []string{"-t", test, "-r", "10000", "-d", "16"},
				Count: max(100, int(d.Seconds()*float64(deep.second))),
			})
		}
	}
	return p
}

// page is what clients of HTTP ask for: 1 KiB.
var page = strings.Repeat("0123456789abcde\n", 64)

// httpServers are the contestants of the table of HTTP. Both have the page in their configuration,
// and answer it under heads of nearly the same length.
func httpServers(*settings) []server {
	get := &load.Step{Send: []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Expect: []byte("HTTP/1.1 200 OK\r\n")}
	rival := rival(nginx, "nginx", configuredNginx)
	rival.asks, rival.workers = get, true
	site := guest{plugin: "../examples/http/http.wasm", instance: "loop", config: func(place) string {
		return fmt.Sprintf("[listener.config.pages]\n\"/\" = %q\n", page)
	}}
	return []server{rival, {name: bulkheadHTTP, program: "bulkhead", asks: get, arguments: site.run}}
}

// configuredNginx writes a configuration with as many workers as there are cores, and without a
// log.
func configuredNginx(at place) ([]string, error) {
	var folders strings.Builder
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&folders, "%s_temp_path %s;\n", kind, filepath.Join(at.dir, kind))
	}
	text := fmt.Sprintf(`daemon off;
worker_processes %d;
pid nginx.pid;
error_log stderr error;
events { worker_connections 4096; }
http {
access_log off;
keepalive_requests 1000000000;
default_type text/html;
charset utf-8;
%sserver {
listen %s;
location / { return 200 %q; }
}
}
`, at.cores, &folders, at.address, page)
	text = strings.ReplaceAll(text, `\n`, "\n") // in quotes there, too, a line ends
	file := filepath.Join(at.dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("writing the configuration of nginx: %w", err)
	}
	return []string{"-p", at.dir, "-c", file, "-e", "stderr"}, nil
}

func httpPlan(s *settings) plan {
	d := s.length(pick[time.Duration](s, 1, 1, 2) * time.Second)
	p := plan{Repeats: pick(s, 1, 3, 7)}
	for _, n := range pick(s, []int{4}, []int{64}, connections) {
		p.Cells = append(p.Cells, requestCell(n, d))
	}
	each := requestCell(pick(s, 4, 64, 64), d)
	each.Name += ", a connection each"
	each.Args = []string{"-H", "Connection: close"}
	p.Cells = append(p.Cells, each)
	return p
}

func requestCell(conns int, d time.Duration) cell {
	return cell{Name: fmt.Sprintf("%d x GET of 1 KiB", conns), Job: load.Job{Kind: requests, Conns: conns, Pipeline: 1, Duration: d}}
}
