package host_test

import (
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/hosttest"
)

// benchHost serves the echo for a benchmark.
func benchHost(b *testing.B, instance string) (addr string) {
	b.Helper()
	cfg, err := config.Load(hosttest.WriteConfig(b, echoConfig(b, instance, "")))
	if err != nil {
		b.Fatal(err)
	}
	h, err := host.New(cfg, host.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = h.Run(b.Context()) }()
	b.Cleanup(h.Close)
	return h.Addr("echo")
}

func BenchmarkConnectEchoClose(b *testing.B) {
	for _, instance := range []string{"loop", "connection"} {
		b.Run(instance, func(b *testing.B) {
			addr := benchHost(b, instance)
			b.ReportAllocs()
			buf := make([]byte, 64)
			for range b.N {
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := conn.Write(buf); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(conn, buf); err != nil {
					b.Fatal(err)
				}
				conn.Close()
			}
		})
	}
}

func BenchmarkEcho(b *testing.B) {
	for _, instance := range []string{"loop", "connection"} {
		b.Run(instance, func(b *testing.B) {
			conn := hosttest.Dial(b, benchHost(b, instance))
			buf := make([]byte, 64)
			b.ReportAllocs()
			for range b.N {
				if _, err := conn.Write(buf); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(conn, buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkUDP has 64 clients whose datagrams come back: over one socket, and over one for
// each loop. What it costs of CPU time is the clients', too.
func BenchmarkUDP(b *testing.B) {
	for _, instance := range []string{"listener", "loop", "connection"} {
		b.Run(instance, func(b *testing.B) {
			cfg, err := config.Load(hosttest.WriteConfig(b, strings.Replace(echoConfig(b, instance, ""), "tcp://", "udp4://", 1)))
			if err != nil {
				b.Fatal(err)
			}
			h, err := host.New(cfg, host.Options{Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			go func() { _ = h.Run(b.Context()) }()
			b.Cleanup(h.Close)
			const clients = 64
			var begin, end syscall.Rusage
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &begin)
			var wg sync.WaitGroup
			for range clients {
				conn := dialUDP(b, h.Addr("echo"))
				wg.Go(func() {
					buf := make([]byte, 64)
					for range b.N/clients + 1 {
						if _, err := conn.Write(buf); err != nil {
							b.Error(err)
							return
						}
						if _, err := conn.Read(buf); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &end)
			b.ReportMetric(float64(end.Utime.Nano()+end.Stime.Nano()-begin.Utime.Nano()-begin.Stime.Nano())/float64(b.N), "cpu-ns/op")
		})
	}
}
