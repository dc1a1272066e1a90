package host_test

import (
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/hosttest"

	"golang.org/x/sys/unix"
)

// inheritedUDP is the number of a UDP socket that somebody else has bound, as it were; each
// number is given out once in the life of the process. The listener closes it.
func inheritedUDP(t *testing.T, least int) (fd, addr string) {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f, err := c.(*net.UDPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD, least)
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(n), c.LocalAddr().String()
}

func inheriting(t *testing.T, fd, instance, more string) string {
	t.Helper()
	text := udpConfig(t, datagrams(), instance, "", more)
	return strings.Replace(text, "udp4://127.0.0.1:0", "fd://"+fd, 1)
}

// An inherited UDP socket serves as one does that the host has bound: peers, replies, and
// an idle timeout that is the one of datagrams where the file says none.
func TestAnInheritedUDPSocketServes(t *testing.T) {
	for i, instance := range instanceModes {
		t.Run(instance, func(t *testing.T) {
			fd, addr := inheritedUDP(t, 400+20*i)
			h := hosttest.Serve(t, inheriting(t, fd, instance, "waiting_datagrams = 9"), host.Options{})
			if got := h.Addr("udp"); got != addr {
				t.Errorf("it listens on %s, want %s", got, addr)
			}
			for k := range 4 {
				c := dialUDP(t, addr)
				trip(t, c, fmt.Sprintf("peer %d", k))
				trip(t, c, "again")
			}
			if stats := h.Stats().Listeners[0]; stats.Accepted != 4 {
				t.Errorf("%d peers; want 4", stats.Accepted)
			}
		})
	}
}

// What the file may say depends on what kind of socket there is: the error has the line.
func TestKeysThatDoNotGoWithWhatIsInherited(t *testing.T) {
	refused := func(fd, more string, words ...string) {
		t.Helper()
		cfg, err := config.Parse("f.toml", []byte(inheriting(t, fd, "connection", more)), "/")
		if err != nil {
			t.Fatal(err)
		}
		h, err := host.New(cfg, host.Options{Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			h.Close()
			t.Fatalf("fd://%s was taken with %s", fd, more)
		}
		for _, word := range append(words, "f.toml:", "fd://"+fd) {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%v; want %q in it", err, word)
			}
		}
	}
	fd, _ := inheritedUDP(t, 500)
	number, _ := strconv.Atoi(fd)
	defer unix.Close(number)
	refused(fd, `min_rate = "1KiB/s"`, ", a UDP socket", "min_rate is for streams", "leave it out")
	refused(fd, "keepalive = \"15s\"\nbacklog = 7", "keepalive is for TCP", "backlog is for streams")
	refused(fd, `group = ["239.1.2.3"]`, "is bound to 127.0.0.1, where nothing comes that is sent to a group")

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	stream := strconv.Itoa(int(f.Fd()))
	refused(stream, "waiting_datagrams = 9", ", a stream socket", "waiting_datagrams is for UDP")
}
