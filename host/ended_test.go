package host_test

import (
	"bytes"
	"io"
	"log/slog"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"bulkhead/csa"
	"bulkhead/host"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
	"bulkhead/selector"
)

// picky refuses each connection with INVALID when it says something, as handlers do with what is
// not their protocol.
func picky() []byte {
	m, _ := w.Handler()
	m.Func("csa_data", "ii:i", "", w.I32Const(-1))
	return m.Bytes()
}

// What a limit, TLS, PROXY or a route ends is in the log at info, with listener, key and peer,
// and is counted.
func TestWhyConnectionsEnd(t *testing.T) {
	echo := w.Echo().Bytes()
	says := func(text string) func(*testing.T, net.Conn) {
		return func(t *testing.T, c net.Conn) { hosttest.Say(t, c, text) }
	}
	for name, try := range map[string]struct {
		module []byte
		toml   string
		do     func(*testing.T, net.Conn)
		cause  csa.Cause
	}{
		"idle":         {echo, `idle_timeout = "100ms"`, says("x"), csa.IdleTimeout},
		"first byte":   {echo, `first_byte_timeout = "100ms"`, nil, csa.FirstByteTimeout},
		"lifetime":     {echo, `lifetime = "1s"`, nil, csa.Lifetime},
		"refused":      {picky(), "", says("GET / HTTP/1.0\r\n\r\n"), csa.HandlerRefused},
		"no header":    {echo, `proxy_from = ["127.0.0.1"]`, says("no header\r\n\r\n"), csa.ProxyHeader},
		"no TLS":       {echo, "[listener.tls]\nself_signed = [\"a.test\"]", says("GET / HTTP/1.0\r\n\r\n"), csa.HandshakeFailed},
		"silent TLS":   {echo, "[listener.tls]\nself_signed = [\"a.test\"]\nhandshake_timeout = \"100ms\"", nil, csa.HandshakeTimeout},
		"no route":     {nil, "[[listener.route]]\nfirst = [\"AB\"]\nplugin = \"$PLUGIN\"", says("XY"), csa.NoRoute},
		"silent route": {nil, "route_timeout = \"100ms\"\n[[listener.route]]\nfirst = [\"AB\"]\nplugin = \"$PLUGIN\"", nil, csa.RouteTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			var log jsonLog
			module := try.module
			if module == nil {
				module = echo
			}
			toml := guestLogConfig(t, module, "", try.toml)
			if try.module == nil {
				_, path, _ := strings.Cut(toml, "plugin = ")
				path, _, _ = strings.Cut(path, "\n")
				toml = strings.Replace(toml, "plugin = "+path+"\n", "", 1)
				toml = strings.Replace(toml, `"$PLUGIN"`, path, 1)
			}
			h := hosttest.Serve(t, toml, host.Options{Log: log.log()})
			c := hosttest.Dial(t, h.Addr("l"))
			if try.do != nil {
				try.do(t, c)
			}
			_, _ = io.Copy(io.Discard, c) // to its end, or reset
			info := try.cause.Info()
			hosttest.Eventually(t, "the log says it", func() bool {
				for _, l := range log.lines(t, "") {
					if l["cause"] == info.Name && l["level"] == "INFO" && l["listener"] == "l" && l["tenant"] == "acme" && l["peer"] == c.LocalAddr().String() && (info.Key == "" || l["key"] == info.Key) {
						return true
					}
				}
				return false
			})
			if have := h.Stats().Listeners[0].Ended; !maps.Equal(have, map[string]int64{info.Name: 1}) {
				t.Errorf("it is counted as %v", have)
			}
		})
	}
}

// A handler that leaves bytes, or wants more than comes, is told of as such, to its author.
func TestUnconsumedIsTheHandlers(t *testing.T) {
	m, f := w.Handler([2]string{"want", "ii:i"}, [2]string{"send", "iii:i"})
	m.Func("csa_data", "ii:i", "",
		w.LocalGet(0), w.I32Const(300), w.Call(f[0]), w.Drop,
		w.LocalGet(0), w.I32Const(w.WindowAt), w.I32Const(1), w.Call(f[1]), w.Drop,
		w.I32Const(0))
	var log jsonLog
	clock := &selector.Manual{}
	h := hosttest.Serve(t, guestLogConfig(t, m.Bytes(), "", ""), host.Options{Log: log.log(), Clock: clock})
	c := hosttest.Dial(t, h.Addr("l"))
	hosttest.Say(t, c, "hello")
	hosttest.Hear(t, c, "h")
	hosttest.Eventually(t, "the log says what the handler does", func() bool {
		clock.Advance(time.Second)
		for _, l := range log.lines(t, "connection closed") {
			if l["level"] == "WARN" && l["key"] == "min_rate" && strings.Contains(l["reason"].(string), "its handler has left 5 bytes unconsumed and wants 300") {
				return true
			}
		}
		return false
	})
}

// Scanners, whose garbage a handler answers with INVALID, make no warnings, and no more lines
// than there may be: the others are counted, and told of.
func TestScannersAreNotTheAuthorsFault(t *testing.T) {
	var text bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&text, nil))
	const scanners = 300
	before := time.Now()
	t.Run("serving", func(t *testing.T) {
		h := hosttest.Serve(t, guestLogConfig(t, picky(), "accept_rate = 10000", ""), host.Options{Log: log})
		for range scanners {
			c := hosttest.Dial(t, h.Addr("l"))
			hosttest.Say(t, c, "\x16\x03\x01")
			_, _ = io.Copy(io.Discard, c)
			c.Close()
		}
		hosttest.Eventually(t, "all are counted", func() bool {
			return h.Stats().Listeners[0].Ended[csa.HandlerRefused.Info().Name] == scanners
		})
	}) // and the host has ended, and said its last words
	l := jsonLog{text: text}
	said, told := 0, 0
	for _, line := range l.lines(t, "") {
		if line["level"] != "INFO" {
			t.Errorf("the log has %v", line)
		}
		if line["cause"] == csa.HandlerRefused.Info().Name {
			said++
		}
		if n, ok := line["lines_left_out"].(float64); ok {
			told += int(n)
		}
	}
	if most := 5 * (time.Since(before).Seconds() + 2); said+told != scanners || float64(said) > most {
		t.Errorf("of %d scanners the log has %d lines, of at most %.0f, and tells of %d left out", scanners, said, most, told)
	}
}
