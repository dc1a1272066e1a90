package config

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"bulkhead/internal/suggest"
)

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{
		"0B": 0, "1B": 1, "64KiB": 65536, "007MiB": 7 << 20, "1024GiB": 1 << 40,
		"1kB": 1000, "500MB": 500e6, "2GB": 2e9, "9223372036854775807B": 1<<63 - 1, "8589934591GiB": 8589934591 << 30,
	} {
		if got, problem := parseSize(s); got != want || problem != "" {
			t.Errorf("parseSize(%q) = %d, %q; want %d", s, got, problem, want)
		}
	}
	for s, want := range map[string]string{
		"":                            "is not a size",
		"KiB":                         "is not a size",
		"64 KiB":                      "is not a size",
		"-1KiB":                       "is not a size",
		"+1KiB":                       "is not a size",
		"1.5MiB":                      "is not a size",
		"1_000B":                      "is not a size",
		"1KiB/s":                      "is not a size",
		" 1KiB":                       "is not a size",
		"１KiB":                        "is not a size",
		"64":                          "has no unit",
		"64KB":                        "has an unknown unit",
		"64kib":                       "has an unknown unit",
		"64k":                         "has an unknown unit",
		"1TiB":                        "has an unknown unit",
		"9223372036854775808B":        "is out of range",
		"8589934592GiB":               "is out of range",
		strings.Repeat("9", 99) + "B": "is out of range",
	} {
		if got, problem := parseSize(s); got != 0 || !strings.HasPrefix(problem, want) {
			t.Errorf("parseSize(%q) = %d, %q; want %q", s, got, problem, want)
		}
	}
}

func TestParseRate(t *testing.T) {
	if got, problem := parseRate("10MiB/s"); got != 10<<20 || problem != "" {
		t.Errorf("got %d, %q", got, problem)
	}
	for s, want := range map[string]string{"10MiB": `has no "/s"`, "x": "is not a rate", "10/s": "has no unit", "/s": "is not a size", "10MiB/m": "is not a rate"} {
		if _, problem := parseRate(s); !strings.HasPrefix(problem, want) {
			t.Errorf("parseRate(%q): %q, want %q", s, problem, want)
		}
	}
}

func TestFormatSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 1: "1B", 1000: "1000B", 1024: "1KiB", 1536: "1536B", 3 << 20: "3MiB", 1 << 40: "1024GiB", 1<<30 + 1<<20: "1025MiB"} {
		if got := formatSize(n); got != want {
			t.Errorf("formatSize(%d) = %s, want %s", n, got, want)
		}
		if back, problem := parseSize(formatSize(n)); back != n || problem != "" {
			t.Errorf("%d comes back as %d, %q", n, back, problem)
		}
	}
}

func TestDurations(t *testing.T) {
	for s, want := range map[string]time.Duration{"0": 0, "0s": 0, "5m": 5 * time.Minute, "1h30m": 90 * time.Minute, "1.5s": 1500 * time.Millisecond, "250ms": 250 * time.Millisecond} {
		if got, problem := parseDuration(s); got != want || problem != "" {
			t.Errorf("parseDuration(%q) = %v, %q; want %v", s, got, problem, want)
		}
	}
	for s, want := range map[string]string{"": "is not", "5": "has no unit", "1.5": "has no unit", "-5s": "is negative", "5 m": "is not", "1d": "is not", "9999999999999h": "is not", "m": "is not"} {
		if _, problem := parseDuration(s); !strings.HasPrefix(problem, want) {
			t.Errorf("parseDuration(%q): %q, want %q", s, problem, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "0s", time.Second: "1s", time.Minute: "1m", time.Hour: "1h", 90 * time.Minute: "1h30m", time.Hour + time.Second: "1h0m1s", 720 * time.Hour: "720h", time.Millisecond: "1ms", 100 * time.Minute: "1h40m", 10 * time.Second: "10s"} {
		if got := formatDuration(d); got != want {
			t.Errorf("formatDuration(%d) = %s, want %s", d, got, want)
		}
	}
}

func TestParseAddress(t *testing.T) {
	for s, want := range map[string]Address{
		"tcp://127.0.0.1:7001":       {Network: "tcp", Host: "127.0.0.1:7001"},
		"tcp://[::1]:7001":           {Network: "tcp", Host: "[::1]:7001"},
		"tcp://[0:0:0:0:0:0:0:1]:1":  {Network: "tcp", Host: "[::1]:1"},
		"tcp6://[fe80::1%eth0]:1":    {Network: "tcp6", Host: "[fe80::1%eth0]:1"},
		"tcp://localhost:0":          {Network: "tcp", Host: "localhost:0"},
		"tcp://:65535":               {Network: "tcp", Host: ":65535"},
		"tcp4://:1":                  {Network: "tcp4", Host: ":1"},
		"udp://:53":                  {Network: "udp", Host: ":53"},
		"udp4://127.0.0.1:0":         {Network: "udp4", Host: "127.0.0.1:0"},
		"udp6://[::1]:53":            {Network: "udp6", Host: "[::1]:53"},
		"tcp4://0.0.0.0:1":           {Network: "tcp4", Host: "0.0.0.0:1"},
		"unix:///run/x.sock":         {Network: "unix", Host: "/run/x.sock"},
		"unix:///run/../tmp//x%20 y": {Network: "unix", Host: "/tmp/x%20 y"},
		"unix://x.sock":              {Network: "unix", Host: "/dir/x.sock"},
		"unix://../x.sock":           {Network: "unix", Host: "/x.sock"},
		"unix://./@x":                {Network: "unix", Host: "/dir/@x"},
		"fd://3":                     {Network: "fd", Host: "3"},
		"fd://1048576":               {Network: "fd", Host: "1048576"},
		"fd://bulkhead.socket":       {Network: "fd", Host: "bulkhead.socket"},
		"fd://3rd@x":                 {Network: "fd", Host: "3rd@x"},
	} {
		got, f := parseAddress(s, "/dir")
		if f != nil || got != want {
			t.Errorf("parseAddress(%q) = %v, %v; want %v", s, got, f, want)
			continue
		}
		if back, f := parseAddress(got.String(), "/elsewhere"); f != nil || back != got {
			t.Errorf("%v comes back as %v, %v", got, back, f)
		}
	}
	got, f := parseAddress("unix://@bulkhead/echo", "/dir")
	if runtime.GOOS == "linux" {
		if f != nil || got != (Address{Network: "unix", Host: "@bulkhead/echo"}) || got.String() != "unix://@bulkhead/echo" {
			t.Errorf("abstract: %v, %v", got, f)
		}
	} else if f == nil {
		t.Error("abstract sockets are taken outside Linux")
	}

	for s, want := range map[string]string{
		"":                                 "has no network; " + addressForms,
		"127.0.0.1:7001":                   `has no network; write "tcp://127.0.0.1:7001"`,
		":7001":                            `has no network; write "tcp://:7001"`,
		"fd:3":                             "has no network; " + addressForms,
		"tcp:127.0.0.1:7001":               "has no network; " + addressForms,
		"udq://127.0.0.1:53":               `has an unknown network "udq"; did you mean "udp://127.0.0.1:53"? ` + addressForms,
		"udp6://127.0.0.1:53":              `has an IPv4 host on udp6; write "udp4://" or "udp://" in front of it`,
		"udp4://[::1]:53":                  `has an IPv6 host on udp4; write "udp6://" or "udp://" in front of it`,
		"udp://127.0.0.1":                  `has no port; write the port behind the host: "udp://127.0.0.1:7001"`,
		"udp://*:53":                       `has the host "*"; leave the host empty for every address: "udp://:53"`,
		"udp://[::ffff:127.0.0.1]:53":      `is an IPv4-mapped IPv6 address; write "udp4://127.0.0.1:53"`,
		"TCP://127.0.0.1:53":               `has an unknown network "TCP"; did you mean "tcp://127.0.0.1:53"? ` + addressForms,
		"unx:///x":                         `has an unknown network "unx"; did you mean "unix:///x"? ` + addressForms,
		"tcp://127.0.0.1":                  `has no port; write the port behind the host: "tcp://127.0.0.1:7001"`,
		"tcp://::1":                        `has no port; write the port behind the host: "tcp://[::1]:7001"`,
		"tcp://[::1]":                      `has no port; write the port behind the host: "tcp://[::1]:7001"`,
		"tcp6://x":                         `is not HOST:PORT; write tcp6://HOST:PORT, with an IPv6 host in brackets, like "tcp6://[::1]:7001"`,
		"tcp://a:b:c":                      `is not HOST:PORT; write tcp://HOST:PORT, with an IPv6 host in brackets, like "tcp://127.0.0.1:7001"`,
		"tcp://127.0.0.1:7001/":            `has a bad port "7001/"; write a port from 0 to 65535 (0 takes any free port)`,
		"tcp://127.0.0.1/x":                `has more than a host and a port; end the address after the port: tcp://HOST:PORT`,
		"tcp://127.0.0.1:":                 `has a bad port ""; write a port from 0 to 65535 (0 takes any free port)`,
		"tcp://127.0.0.1:65536":            `has a bad port "65536"; write a port from 0 to 65535 (0 takes any free port)`,
		"tcp://127.0.0.1:007":              `has a bad port "007"; write a port from 0 to 65535 (0 takes any free port)`,
		"tcp://127.0.0.1:http":             `has a bad port "http"; write a port from 0 to 65535 (0 takes any free port)`,
		"tcp://*:80":                       `has the host "*"; leave the host empty for every address: "tcp://:80"`,
		"tcp://example.com:80":             `has a host "example.com" that is not an IP address; write an IP address, "localhost", or nothing for every address of the machine`,
		"tcp://010.0.0.1:80":               `has a host "010.0.0.1" that is not an IP address; write an IP address, "localhost", or nothing for every address of the machine`,
		"tcp4://[::1]:80":                  `has an IPv6 host on tcp4; write "tcp6://" or "tcp://" in front of it`,
		"tcp6://127.0.0.1:80":              `has an IPv4 host on tcp6; write "tcp4://" or "tcp://" in front of it`,
		"tcp://[::ffff:127.0.0.1]:80":      `is an IPv4-mapped IPv6 address; write "tcp4://127.0.0.1:80"`,
		"tcp://[fe80::1%a b]:80":           `has a bad zone "a b"; write the interface's name behind the %, like fe80::1%eth0`,
		"unix://":                          `has no socket path; write the path behind it, like "unix:///run/bulkhead/echo.sock", or "unix://@name"`,
		"unix://@":                         `has no socket path; write the path behind it, like "unix:///run/bulkhead/echo.sock", or "unix://@name"`,
		"unix:///run/":                     `is a directory, not a socket's path; write the socket's own name too, like "unix:///run/bulkhead/echo.sock"`,
		"unix://..":                        `is a directory, not a socket's path; write the socket's own name too, like "unix:///run/bulkhead/echo.sock"`,
		"unix://a\x00b":                    `has a NUL byte in its path; write a path without one`,
		"fd://":                            "names no descriptor; ",
		"fd://2":                           "has a bad descriptor number; ",
		"fd://03":                          "has a bad descriptor number; ",
		"fd://1048577":                     "has a bad descriptor number; ",
		"fd://99999999999999999999":        "has a bad descriptor number; ",
		"fd://a:b":                         "has a bad descriptor name; ",
		"fd://a/b":                         "has a bad descriptor name; ",
		"fd://a b":                         "has a bad descriptor name; ",
		"fd://" + strings.Repeat("a", 256): "names no descriptor; ",
	} {
		got, f := parseAddress(s, "/dir")
		if f == nil || got != (Address{}) {
			t.Errorf("parseAddress(%q) = %v, want %q", s, got, want)
			continue
		}
		if said := f.problem + "; " + f.mend; said != want && !(strings.HasSuffix(want, "; ") && strings.HasPrefix(said, want)) {
			t.Errorf("parseAddress(%q):\n%s, want\n%s", s, said, want)
		}
	}

	path := "/" + strings.Repeat("a", maxSocketPath()-1)
	if _, f := parseAddress("unix://"+path, "/"); f != nil {
		t.Errorf("the longest path is refused: %v", f)
	}
	if _, f := parseAddress("unix://"+path+"a", "/"); f == nil || !strings.Contains(f.problem, "in full") {
		t.Errorf("a path too long by one: %v", f)
	}
}

func TestClashes(t *testing.T) {
	for _, test := range []struct {
		a, b  string
		clash bool
	}{
		{"tcp://127.0.0.1:1", "tcp://127.0.0.1:1", true},
		{"tcp://127.0.0.1:1", "tcp4://127.0.0.1:1", true},
		{"tcp://127.0.0.1:1", "tcp://127.0.0.1:2", false},
		{"tcp://127.0.0.1:1", "tcp://127.0.0.2:1", false},
		{"tcp://127.0.0.1:1", "tcp://[::1]:1", false},
		{"tcp://:1", "tcp://127.0.0.1:1", true},
		{"tcp://[::1]:1", "tcp://:1", true},
		{"tcp://0.0.0.0:1", "tcp://[::1]:1", false},
		{"tcp4://:1", "tcp6://:1", false},
		{"tcp4://:1", "tcp://:1", true},
		{"tcp6://:1", "tcp4://127.0.0.1:1", false},
		{"tcp://localhost:1", "tcp://:1", true},
		{"tcp://localhost:1", "tcp4://localhost:1", true},
		{"tcp://:0", "tcp://:0", false},
		{"tcp://127.0.0.1:0", "tcp://127.0.0.1:0", false},
		{"unix:///a", "unix:///a", true},
		{"unix:///dir/a", "unix://b/../a", true},
		{"unix:///a", "unix:///b", false},
		{"fd://3", "fd://3", true},
		{"fd://3", "fd://4", false},
	} {
		a, f := parseAddress(test.a, "/dir")
		b, g := parseAddress(test.b, "/dir")
		if f != nil || g != nil {
			t.Fatalf("%v %v", f, g)
		}
		d := &decoder{}
		d.checkClashes([]Listener{{Name: "a", Address: a}, {Name: "b", Address: b}})
		if (len(d.errs) > 0) != test.clash {
			t.Errorf("%s and %s: %v", test.a, test.b, d.errs)
		}
	}
}

func TestOwners(t *testing.T) {
	for s, want := range map[string]bool{
		"a": true, "a:b": true, ":b": true, "0": true, "0:0": true, "www-data": true, "svc.x": true,
		"": false, ":": false, "a:": false, "a:b:c": false, "-a": false, "a b": false, "a:-b": false, "a/b": false,
		strings.Repeat("a", 65): false,
	} {
		if got := goodOwner(s); got != want {
			t.Errorf("goodOwner(%q) = %v", s, got)
		}
	}
}

func TestNearestKey(t *testing.T) {
	names := fieldNames(listenerFields)
	for word, want := range map[string]string{
		"tennant": "tenant", "tenat": "tenant", "idle_timout": "idle_timeout", "IdleTimeout": "idle_timeout", "adress": "address",
		"addr": "", "pulgin": "plugin", "pluginsha256": "plugin_sha256", "sha256": "", "mod": "mode", "x": "", "": "",
		"keep-alive": "keepalive", "user_timeouts": "user_timeout", "instances": "instance", "bäcklog": "backlog",
		strings.Repeat("name", 20): "",
	} {
		if got := suggest.Word(word, names); got != want {
			t.Errorf("suggest.Word(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestPaths(t *testing.T) {
	for _, test := range []struct{ path, want string }{{"a/b", "/dir/a/b"}, {"../b", "/b"}, {"/x//y/", "/x/y"}, {".", "/dir"}} {
		if got := absolute(test.path, "/dir"); got != filepath.FromSlash(test.want) {
			t.Errorf("absolute(%q) = %q, want %q", test.path, got, test.want)
		}
	}
}
