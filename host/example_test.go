package host_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"bulkhead/csa"
	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/host/logqueue"
	"bulkhead/selector"
)

// shout is a handler that sends back what it gets in capital letters. All connections of a loop
// share it, and its window.
type shout struct {
	csa.Base
	window []byte
}

func newShout(*csa.Loop) csa.Handler { return &shout{window: make([]byte, 4096)} }

func (s *shout) Window(*csa.CSA) []byte { return s.window }

func (s *shout) Data(c *csa.CSA, p []byte) int {
	n, _ := c.Send(bytes.ToUpper(p))
	return n
}

// answerOf sends a line and returns the answer.
func answerOf(address, line string) string {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	fmt.Fprintln(c, line)
	answer, _ := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(answer)
}

// A program may serve a listener with a handler in Go, with a configuration that it makes by
// itself: there is no file, no plugin, and no folder of state.
func Example() {
	listener := config.DefaultListener()
	listener.Name, listener.Tenant = "shout", "acme"
	listener.Address = config.Address{Network: "tcp", Host: "127.0.0.1:0"}
	h, err := host.New(&config.Config{
		Host:      config.DefaultHost("."),
		Tenants:   []config.Tenant{config.DefaultTenant("acme")},
		Listeners: []config.Listener{listener},
	}, host.Options{
		Log:    slog.New(slog.DiscardHandler),
		Native: map[string]host.Native{"shout": newShout},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- h.Run(ctx) }()
	fmt.Println(answerOf(h.Addr("shout"), "hello"))
	cancel() // and what is open may go on for DefaultHost's 10 s
	fmt.Println(<-done)
	// Output:
	// HELLO
	// <nil>
}

// In a file, a listener that the program serves needs no plugin.
func Example_file() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "bulkhead.toml")
	_ = os.WriteFile(path, []byte(`
[tenant.acme]
connections = 100

[[listener]]
name = "shout"
tenant = "acme"
address = "tcp://127.0.0.1:0"
`), 0o600)
	cfg, err := config.LoadNative(path, "shout")
	if err != nil {
		fmt.Println(err)
		return
	}
	h, err := host.New(cfg, host.Options{Log: slog.New(slog.DiscardHandler), Native: map[string]host.Native{"shout": newShout}})
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() { _ = h.Run(context.Background()) }()
	fmt.Println(answerOf(h.Addr("shout"), "hello"))
	h.Close()
	// Output: HELLO
}

// halfSpeed is a clock of the program's own, on which time passes half as fast.
type halfSpeed struct{ start time.Time }

func (c halfSpeed) Now() int64 { return int64(time.Since(c.start)) / 2 }

func (c halfSpeed) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	return time.AfterFunc(2*d, f).Stop
}

var _ selector.Clock = halfSpeed{}

// Timeouts and rates go by the clock that the program gives.
func ExampleOptions_clock() {
	cfg := nativeConfig(anyPort)
	cfg.Listeners[0].IdleTimeout = 50 * time.Millisecond // which take 100
	h, err := host.New(cfg, host.Options{
		Log: slog.New(slog.DiscardHandler), Clock: halfSpeed{time.Now()},
		Native: map[string]host.Native{"echo": newShout},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() { _ = h.Run(context.Background()) }()
	defer h.Close()
	began := time.Now() // before the connection is there, whose time it is
	c, err := net.Dial("tcp", h.Addr("echo"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	_, err = c.Read(make([]byte, 1))
	fmt.Println(err, time.Since(began) >= 100*time.Millisecond)
	// Output: EOF true
}

// A log that leaves out lines, as that of package logqueue does, is counted beside the rest.
func ExampleOptions_logLost() {
	var log strings.Builder
	queue := logqueue.New(&log, logqueue.Options{Lines: 1, Bytes: 1}) // no line has room
	cfg := nativeConfig(anyPort)
	h, err := host.New(cfg, host.Options{
		Log:     queue.Logger(),
		LogLost: func() int64 { return queue.Stats().LeftOut },
		Native:  map[string]host.Native{"echo": newShout},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	before := h.Stats().LogLost
	queue.Logger().Info("a line")
	fmt.Println(h.Stats().LogLost - before)
	h.Close()
	queue.Close(time.Second)
	// Output: 1
}
