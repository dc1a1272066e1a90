package host_test

import (
	"io"
	"log/slog"
	"net"
	"testing"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/host/hosttest"
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
