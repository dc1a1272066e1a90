package limits_test

import (
	"fmt"
	"log/slog"
	"net"
	"syscall"
	"testing"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/host/metrics"
	"bulkhead/internal/hosttest"

	"golang.org/x/sys/unix"
)

// A process without a free descriptor accepts nobody: the metrics, the status and the page of the
// listener say so. The access log has connections, and there is none.
func TestNoDescriptorsAreSeen(t *testing.T) {
	cfg, err := config.LoadNative(hosttest.WriteConfig(t, fmt.Sprintf(`
[host]
state = %q
loops = 1
[tenant.acme]
[[listener]]
name = "echo"
tenant = "acme"
address = "tcp://127.0.0.1:0"
`, hosttest.State())), "echo")
	if err != nil {
		t.Fatal(err)
	}
	h := hosttest.ServeConfig(t, cfg, host.Options{Native: map[string]host.Native{"echo": hosttest.NewEcho}, Log: slog.New(slog.DiscardHandler)}, 1<<20)
	scrapes, watcher := metrics.New(metrics.Source{Host: h}), watch(t, h)
	to, err := net.ResolveTCPAddr("tcp", h.Addr("echo"))
	if err != nil {
		t.Fatal(err)
	}
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(client)
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	none := before
	none.Cur = 0 // those that are open stay so
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	restored := false
	restore := func() {
		if !restored {
			restored = true
			if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
				t.Error(err)
			}
		}
	}
	defer restore()
	if err := unix.Connect(client, &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	const name = "bulkhead_listener_accept_errors_total"
	hosttest.Eventually(t, "accepting has failed", func() bool { return h.Stats().Listeners[0].AcceptErrors > 0 })
	restore()
	if m := scrape(t, scrapes, "")[name].GetMetric(); len(m) != 1 || m[0].GetCounter().GetValue() <= 0 {
		t.Errorf("the metrics have %v", m)
	}
	if key := keyOfFamily(name); key != "descriptors" {
		t.Errorf("%s is said to be about %q", name, key)
	}
	if n := h.Status().Listeners[0].Metrics[name]; n == "" || n == "0" {
		t.Errorf("the status has %q", n)
	}
	hosttest.Eventually(t, "the page has it", func() bool { return watcher.waits("echo")["descriptors"] > 0 })
}
