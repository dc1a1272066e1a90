package host_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// jsonLog keeps a host's log of JSON.
type jsonLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *jsonLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *jsonLog) log() *slog.Logger { return slog.New(slog.NewJSONHandler(l, nil)) }

// lines are those whose message begins so.
func (l *jsonLog) lines(t *testing.T, msg string) (all []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if strings.HasPrefix(m["msg"].(string), msg) {
			all = append(all, m)
		}
	}
	return all
}

// echoing logs what it gets, and at a connection's end "left", and sends it back.
func echoing() []byte {
	m, f := w.Handler([2]string{"log", "iii:i"}, [2]string{"send", "iii:i"})
	m.Data(0, "left")
	m.Func("csa_data", "ii:i", "",
		w.I32Const(1), w.I32Const(w.WindowAt), w.LocalGet(1), w.Call(f[0]), w.Drop,
		w.LocalGet(0), w.I32Const(w.WindowAt), w.LocalGet(1), w.Call(f[1]))
	m.Func("csa_closed", "ii", "", w.I32Const(1), w.I32Const(0), w.I32Const(4), w.Call(f[0]), w.Drop)
	return m.Bytes()
}

func guestLogConfig(t *testing.T, module []byte, tenant, listener string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "guest.wasm")
	if err := os.WriteFile(path, module, 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("[host]\nstate = %q\n[tenant.acme]\n%s\n[[listener]]\nname = \"l\"\ntenant = \"acme\"\naddress = \"tcp://127.0.0.1:0\"\nplugin = %q\n%s\n",
		hosttest.State(), tenant, path, listener)
}

// What a handler says stands in the log once quoted, and with the connection that it is about,
// also where many share an instance, and when the connection has ended.
func TestHandlersSay(t *testing.T) {
	for _, instance := range []string{"connection", "loop", "listener"} {
		t.Run(instance, func(t *testing.T) {
			var log jsonLog
			h := hosttest.Serve(t, guestLogConfig(t, echoing(), "", fmt.Sprintf("instance = %q", instance)), host.Options{Log: log.log()})
			said := []string{`{"imei":"358","at":"\u009b"}`, "\tat /x.go:3\n"}
			number := make(map[string]any)
			for _, text := range said {
				c := hosttest.Dial(t, h.Addr("l"))
				hosttest.Say(t, c, text)
				hosttest.Hear(t, c, text)
				peer := c.LocalAddr().String()
				c.Close()
				want := []string{text, "left"}
				hosttest.Eventually(t, "both lines are there", func() bool {
					i := 0
					for _, l := range log.lines(t, "handler says") {
						if l["peer"] != peer {
							continue
						}
						if i == len(want) || l["text"] != want[i] || l["listener"] != "l" || l["tenant"] != "acme" || l["connection"] == nil {
							t.Fatalf("line %d of %s is %v", i, peer, l)
						}
						if n := number[peer]; n != nil && n != l["connection"] {
							t.Fatalf("the connection is %v, and was %v", l["connection"], n)
						}
						number[peer] = l["connection"]
						i++
					}
					return i == len(want)
				})
			}
			seen := make(map[any]bool)
			for _, n := range number {
				seen[n] = true
			}
			if len(seen) != len(said) {
				t.Errorf("the connections have the numbers %v", number)
			}
		})
	}
}

// A tenant's lines are counted as they stand in the log, where a byte can take six, and what is
// left out is told of and counted.
func TestLogBytes(t *testing.T) {
	var log jsonLog
	began := time.Now()
	h := hosttest.Serve(t, guestLogConfig(t, echoing(), "log_lines = 100000\nlog_bytes = \"4KiB/s\"", ""), host.Options{Log: log.log()})
	c := hosttest.Dial(t, h.Addr("l"))
	text := strings.Repeat("\x01", 1000) // 6 KB
	said, told := 0, 0
	count := func() {
		told = 0
		for _, l := range log.lines(t, "") {
			if n, ok := l["lines_left_out"].(float64); ok {
				told += int(n)
			}
		}
	}
	for said < 90 { // an instance may log 100 a second, and tells of more when something follows
		hosttest.Say(t, c, text)
		hosttest.Hear(t, c, text)
		said++
	}
	hosttest.Eventually(t, "the log tells of all lines that were left out, though nothing follows", func() bool {
		count()
		return told > 0 && told == int(h.Stats().Tenants[0].LogLinesDropped)
	})
	lines := len(log.lines(t, "handler"))
	st := h.Stats().Tenants[0]
	if lines+told != said {
		t.Errorf("of %d lines the log has %d, and tells of %d, where %d are counted as left out", said, lines, told, st.LogLinesDropped)
	}
	if most := 4<<10*(time.Since(began).Seconds()+1) + 6200; float64(6000*(lines-3)) > most {
		t.Errorf("%d lines of up to 6 KB were logged, and may have %.0f bytes", lines, most)
	}
}
