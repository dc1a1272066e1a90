package host_test

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/host/handover"
	"bulkhead/internal/hosttest"
	"bulkhead/internal/pairtest"

	"golang.org/x/sys/unix"
)

// BenchmarkHandOver moves 1,000 connections of an example in C, of which each has said something,
// to another host of this process, which counts for both sides.
func BenchmarkHandOver(b *testing.B) {
	const clients = 1000
	echo, err := filepath.Abs("../examples/echo/echo.wasm")
	if err != nil {
		b.Fatal(err)
	}
	toml := movers(b, "[[listener]]\nname = \"echo\"\ntenant = \"acme\"\naddress = \"tcp://127.0.0.1:0\"\nplugin = \""+echo+"\"\n")
	serves := func() *host.Host {
		cfg, err := config.Load(hosttest.WriteConfig(b, toml))
		if err != nil {
			b.Fatal(err)
		}
		h, err := host.New(cfg, host.Options{Engines: hosttest.Engines, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		go func() { _ = h.Run(context.Background()) }()
		b.Cleanup(h.Close)
		return h
	}
	from, to := serves(), serves()
	for range clients {
		c, err := net.Dial("tcp", from.Addr("echo"))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = c.Close() })
		hosttest.Say(b, c, "hello")
		hosttest.Hear(b, c, "hello")
	}
	var before, after unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &before)
	var longest, total time.Duration
	for b.Loop() {
		x, y := pairtest.Packets(b)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = to.TakeOver(context.Background(), y, host.HandOverOptions{})
		}()
		r, err := from.HandOver(context.Background(), x, host.HandOverOptions{Options: handover.Options{Guard: -1}})
		if err != nil || r.Given != clients {
			b.Fatal(r, err)
		}
		<-done
		_, _ = x.Close(), y.Close()
		longest = max(longest, r.Longest)
		total += r.Total
		from, to = to, from
	}
	_ = unix.Getrusage(unix.RUSAGE_SELF, &after)
	n := float64(b.N * clients)
	cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(cpu)/1e3/n, "cpu-µs/conn")
	b.ReportMetric(float64(total.Microseconds())/n/1e3, "still-ms/conn")
	b.ReportMetric(float64(longest.Microseconds())/1e3, "longest-ms")
}
