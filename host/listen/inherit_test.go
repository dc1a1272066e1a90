package listen_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"bulkhead/host/listen"

	"golang.org/x/sys/unix"
)

// A test binary that is told the name of a descriptor is a process that
// systemd has started: it serves one connection there.
const inheritorEnv = "BULKHEAD_TEST_INHERIT"

func TestMain(m *testing.M) {
	if name := os.Getenv(inheritorEnv); name != "" {
		if err := inheritor(name); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// inheritor says in the first connection where it listens, and ends.
func inheritor(name string) error {
	if os.Getenv("LISTEN_PID") == "mine" {
		os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	}
	s, err := listen.Open("fd", name, listen.Options{})
	if err != nil {
		return err
	}
	for {
		fd, _, err := s.Accept()
		switch err {
		case nil:
			_, err = unix.Write(fd, []byte(s.Addr))
			return err
		case unix.EAGAIN, unix.EINTR:
			if _, err := unix.Poll([]unix.PollFd{{Fd: int32(s.FD), Events: unix.POLLIN}}, 30_000); err != nil && err != unix.EINTR {
				return err
			}
		default:
			return err
		}
	}
}

// numbers are those that no descriptor had before: each may be given to a
// listener once in the life of a process.
var numbers atomic.Int64

// passed gives a copy of a socket a number of its own, as an inherited one
// has. The listener owns it.
func passed(t *testing.T, ln net.Listener) string {
	t.Helper()
	f, err := ln.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return copied(t, int(f.Fd()))
}

func copied(t *testing.T, fd int) string {
	t.Helper()
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD, 100+int(numbers.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	numbers.Store(int64(n - 100))
	return strconv.Itoa(n)
}

func listenTCP(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func TestByNumber(t *testing.T) {
	ln := listenTCP(t)
	s := open(t, "fd", passed(t, ln), listen.Options{})
	if s.Addr != ln.Addr().String() {
		t.Errorf("it listens on %s, want %s", s.Addr, ln.Addr())
	}
	ours(t, s.FD)
	serves(t, s, "tcp", s.Addr)
}

// A Unix socket's file is whoever's made it: closing leaves it.
func TestAnInheritedUnixSocketKeepsItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	s := open(t, "fd", passed(t, ln), listen.Options{})
	if s.Addr != path {
		t.Errorf("it listens on %s, want %s", s.Addr, path)
	}
	serves(t, s, "unix", path)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

func TestWhatCannotBeInherited(t *testing.T) {
	const mend = "; start this process with a listening stream socket or a bound UDP socket there"
	for n := range 3 {
		refused(t, "fd", strconv.Itoa(n), listen.Options{}, "is one of stdin, stdout and stderr", mend)
	}
	refused(t, "fd", "9999", listen.Options{}, "descriptor 9999 is not a socket", mend)

	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	file := copied(t, int(f.Fd()))
	defer closeNumber(t, file)
	refused(t, "fd", file, listen.Options{}, "is not a socket", mend)

	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	udp, err := packets.(*net.UDPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	datagram := copied(t, int(udp.Fd()))
	defer closeNumber(t, datagram)
	refused(t, "fd", datagram, listen.Options{}, "is not a stream socket", mend)

	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	silent := copied(t, fd)
	defer closeNumber(t, silent)
	refused(t, "fd", silent, listen.Options{}, "is a socket that does not listen", mend)

	// What was refused is left as it was: not closed, and not taken.
	if _, err := unix.FcntlInt(uintptr(number(t, silent)), unix.F_GETFD, 0); err != nil {
		t.Errorf("the socket that was refused: %v", err)
	}
	if err := unix.Listen(number(t, silent), 1); err != nil {
		t.Fatal(err)
	}
	s, err := listen.Open("fd", silent, listen.Options{})
	if err != nil {
		t.Fatal(err)
	}
	serves(t, s, "tcp", s.Addr)
}

func number(t *testing.T, name string) int {
	t.Helper()
	n, err := strconv.Atoi(name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func closeNumber(t *testing.T, name string) { _ = unix.Close(number(t, name)) }

func TestGivenTwice(t *testing.T) {
	name := passed(t, listenTCP(t))
	s := open(t, "fd", name, listen.Options{})
	refused(t, "fd", name, listen.Options{}, "is given to two listeners")
	serves(t, s, "tcp", s.Addr)
}

// The protocol of sd_listen_fds, as far as it says no.
func TestNoSuchName(t *testing.T) {
	pid := strconv.Itoa(os.Getpid())
	for what, c := range map[string]struct{ pid, fds, names, want string }{
		"nothing set":         {"", "", "", "LISTEN_PID is not its number"},
		"for another process": {"1", "1", "web", "LISTEN_PID is not its number"},
		"a bad pid":           {"x", "1", "web", "LISTEN_PID is not its number"},
		"no descriptors":      {pid, "0", "web", "LISTEN_FDS says that no descriptors were passed"},
		"less than none":      {pid, "-1", "web", "LISTEN_FDS says that no descriptors were passed"},
		"not a number":        {pid, "x", "web", "LISTEN_FDS says that no descriptors were passed"},
		"another name":        {pid, "2", "api:admin", `none of the 2 descriptors passed has that name; LISTEN_FDNAMES has ["api" "admin"]`},
		"no names":            {pid, "1", "", "has that name"},
		"a name too many":     {pid, "1", "api:web", "has that name"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Setenv("LISTEN_PID", c.pid)
			t.Setenv("LISTEN_FDS", c.fds)
			t.Setenv("LISTEN_FDNAMES", c.names)
			refused(t, "fd", "web", listen.Options{}, c.want)
		})
	}
}

// A process of its own that is started with two sockets finds each by its
// name and by its number.
func TestByName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	for _, c := range []struct{ name, network string }{
		{"web", "tcp"}, {"local", "unix"}, {"3", "tcp"}, {"4", "unix"},
	} {
		t.Run(c.name, func(t *testing.T) {
			web := listenTCP(t)
			local, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer local.Close()
			addr := web.Addr().String()
			if c.network == "unix" {
				addr = path
			}
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), inheritorEnv+"="+c.name, "LISTEN_PID=mine", "LISTEN_FDS=2", "LISTEN_FDNAMES=web:local")
			cmd.ExtraFiles = []*os.File{file(t, web), file(t, local)}
			var stderr strings.Builder
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			conn, err := net.Dial(c.network, addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := cmd.Wait(); err != nil {
				t.Fatalf("%v: %s", err, &stderr)
			}
			have := make([]byte, 200)
			n, err := conn.Read(have)
			if err != nil || string(have[:n]) != addr {
				t.Errorf("it says that it listens on %q (%v), want %q", have[:n], err, addr)
			}
		})
	}
}

func file(t *testing.T, ln net.Listener) *os.File {
	t.Helper()
	f, err := ln.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// On Linux a socket without a path can be inherited as well.
func TestInheritedAbstract(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("Linux alone has abstract sockets")
	}
	ln, err := net.Listen("unix", "@bulkhead-test-inherited-"+strconv.Itoa(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	s := open(t, "fd", passed(t, ln), listen.Options{})
	if s.Addr != ln.Addr().String() {
		t.Errorf("it listens on %q, want %q", s.Addr, ln.Addr())
	}
	serves(t, s, "unix", s.Addr)
}

// Whoever passed the socket may have had it linger, which accepted connections inherit: their
// closing would hold up the loop. It is taken off.
func TestAnInheritedSocketDoesNotLinger(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	name := passed(t, ln)
	fd, err := strconv.Atoi(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 60}); err != nil {
		t.Fatal(err)
	}
	s, err := listen.Open("fd", name, listen.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got := acceptFrom(t, s)
	defer unix.Close(got)
	// struct linger has two ints, of which the first says whether.
	if on, err := unix.GetsockoptInt(got, unix.SOL_SOCKET, unix.SO_LINGER); err != nil || on != 0 {
		t.Errorf("an accepted connection lingers: %d, %v", on, err)
	}
}
