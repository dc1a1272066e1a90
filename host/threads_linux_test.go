package host_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"

	"bulkhead/host"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// threads is how many this process has. The runtime keeps those that it has had.
func threads(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// waitingProgram is a program that writes a byte and then waits for input.
func waitingProgram() *w.Module {
	m := w.New()
	read := m.Import("wasi_snapshot_preview1", "fd_read", "iiii:i")
	write := m.Import("wasi_snapshot_preview1", "fd_write", "iiii:i")
	m.Memory(1)
	m.Func("_start", ":", "",
		w.I32Const(0), w.I32Const(100), w.I32Store(0), w.I32Const(0), w.I32Const(1), w.I32Store(4), w.I32Const(100), w.I32Const('!'), w.I32Store8(0),
		w.I32Const(1), w.I32Const(0), w.I32Const(1), w.I32Const(16), w.Call(write), w.If(w.Unreachable),
		w.I32Const(0), w.I32Const(0), w.I32Const(1), w.I32Const(16), w.Call(read), w.Drop)
	return m
}

// A thousand programs that wait have no threads, and neither have dials of names whose server is
// silent: a program is a goroutine, and the host asks the DNS itself. The sockets of dials that
// were given up stay within the tenant's bound, and all is given back.
func TestThreadsAreBounded(t *testing.T) {
	const programs, dialled, bound = 1000, 300, 20
	silent, err := net.ListenPacket("udp", "127.0.0.1:0") // where nobody reads
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	var mu sync.Mutex
	asks := make(map[*asking]bool)
	most, over := 0, false
	names := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := net.Dial("udp", silent.LocalAddr().String())
		mu.Lock()
		defer mu.Unlock()
		if err != nil || over {
			return nil, errors.Join(errors.New("it is over"), err)
		}
		a := &asking{UDPConn: c.(*net.UDPConn)}
		a.closed = func() { mu.Lock(); defer mu.Unlock(); delete(asks, a) }
		asks[a] = true
		most = max(most, len(asks))
		return a, nil
	}}
	h := hosttest.Serve(t, fmt.Sprintf(`
[host]
state = %q
[tenant.acme]
connections = 1100
accept_rate = 100000
connect = ["*.example:80"]
dials = %d
[[listener]]
name = "programs"
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = %q
shape = "stdio"
[[listener]]
name = "dial"
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = %q
`, hosttest.State(), bound, writeModule(t, waitingProgram()), writeModule(t, dialler(false))), host.Options{Resolver: names, Log: slog.New(slog.DiscardHandler)})
	hosttest.Hear(t, hosttest.Dial(t, h.Addr("programs")), "!") // all that is made once is made
	goroutines, before := runtime.NumGoroutine(), threads(t)

	var all []*net.TCPConn
	for range programs {
		all = append(all, hosttest.Dial(t, h.Addr("programs")))
	}
	for _, c := range all {
		hosttest.Hear(t, c, "!")
	}
	for n := range dialled {
		c := hosttest.Dial(t, h.Addr("dial"))
		hosttest.Say(t, c, fmt.Sprintf("tcp://n%d.example:80", n))
		if n >= bound {
			hosttest.Hear(t, c, "!G") // QUOTA: those that were given up are still under way
		} else {
			hosttest.Eventually(t, "it is looked up", func() bool { return h.Stats().Tenants[0].Lookups == n+1 })
		}
		_ = c.Close()
	}
	if st := h.Stats().Tenants[0]; st.Lookups != bound || st.LookupsRefused != dialled-bound {
		t.Errorf("%d lookups are under way, and %d were refused", st.Lookups, st.LookupsRefused)
	}
	mu.Lock()
	if most > 2*bound {
		t.Errorf("%d sockets asked the DNS at once; want two for each lookup at most", most)
	}
	over = true
	for a := range asks {
		_ = a.UDPConn.Close()
	}
	mu.Unlock()
	if more := threads(t) - before; more > 30 {
		t.Errorf("%d programs and %d lookups have made %d threads", programs, bound, more)
	}
	for _, c := range all {
		_ = c.Close()
	}
	hosttest.Eventually(t, "all is given back", func() bool {
		st := h.Stats()
		return st.Connections == 1 && st.Tenants[0].Lookups == 0 && runtime.NumGoroutine() <= goroutines
	})
}

// asking is a socket that asks the DNS.
type asking struct {
	*net.UDPConn
	closed func()
	once   sync.Once
}

func (a *asking) Close() error {
	a.once.Do(a.closed)
	return a.UDPConn.Close()
}
