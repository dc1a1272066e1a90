package sdnotify

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// manager is the manager's end.
func manager(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func heard(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	b := make([]byte, 4096)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func set(t *testing.T, socket, usec, pid string) {
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", usec)
	t.Setenv("WATCHDOG_PID", pid)
}

func TestMessages(t *testing.T) {
	names := map[string]string{"path": filepath.Join(t.TempDir(), "notify")}
	if runtime.GOOS == "linux" {
		names["abstract"] = fmt.Sprintf("@bulkhead-test-%d-%d", os.Getpid(), time.Now().UnixNano())
	}
	for kind, name := range names {
		t.Run(kind, func(t *testing.T) {
			m := manager(t, name)
			set(t, name, "2500000", strconv.Itoa(os.Getpid()))
			n, err := FromEnvironment()
			if err != nil || n.WatchdogTime() != 2500*time.Millisecond {
				t.Fatalf("the watchdog's time is %v, %v", n.WatchdogTime(), err)
			}
			for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
				if _, there := os.LookupEnv(name); there {
					t.Errorf("a child would inherit %s", name)
				}
			}
			for _, c := range []struct {
				send func() error
				want string
			}{
				{func() error { return n.Ready("serves 3\nREADY=0") }, `^READY=1\nSTATUS=serves 3 READY=0$`},
				{n.Reloading, `^RELOADING=1\n(MONOTONIC_USEC=[1-9][0-9]*\n)?STATUS=.+$`},
				{n.Alive, `^WATCHDOG=1$`},
				{func() error { return n.Status(strings.Repeat("ä", 4000)) }, `^STATUS=(ä){150}\.\.\.$`},
				{func() error { return n.Stopping("drains", 90*time.Second) }, `^STOPPING=1\nEXTEND_TIMEOUT_USEC=90000000\nSTATUS=drains$`},
			} {
				if err := c.send(); err != nil {
					t.Fatal(err)
				}
				if have := heard(t, m); !regexp.MustCompile(c.want).MatchString(have) {
					t.Errorf("the manager hears %q, want %s", have, c.want)
				}
			}
		})
	}
}

// A reload's message says when it has begun, by the manager's clock.
func TestMonotonic(t *testing.T) {
	if runtime.GOOS != "linux" {
		return
	}
	text, err := os.ReadFile("/proc/uptime") // by a clock that also counts sleep, so never behind
	if err != nil {
		t.Skip(err)
	}
	up, err := strconv.ParseFloat(strings.Fields(string(text))[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	if now := monotonic(); now <= 0 || float64(now) > (up+3600)*1e6 {
		t.Errorf("the time is %d us, %v s after the start", now, up)
	}
}

func TestEnvironment(t *testing.T) {
	own := strconv.Itoa(os.Getpid())
	for _, c := range []struct {
		socket, usec, pid string
		there             bool
		watchdog          time.Duration
		wrong             string
	}{
		{"", "", "", false, 0, ""},
		{"", "1000000", own, false, 0, ""},
		{"/run/notify", "", "", true, 0, ""},
		{"/run/notify", "1000000", "", true, time.Second, ""},
		{"/run/notify", "1000000", own, true, time.Second, ""},
		{"/run/notify", "1000000", own + "1", true, 0, ""}, // another process's
		{"/run/notify", "soon", own, true, 0, "WATCHDOG_USEC"},
		{"/run/notify", "0", own, true, 0, "WATCHDOG_USEC"},
		{"/run/notify", "-5", own, true, 0, "WATCHDOG_USEC"},
		{"/run/notify", "9223372036854775807", own, true, 0, "WATCHDOG_USEC"},
		{"vsock:2:1234", "", "", false, 0, "NOTIFY_SOCKET"},
		{"notify", "", "", false, 0, "NOTIFY_SOCKET"},
		{"@", "", "", false, 0, "NOTIFY_SOCKET"},
	} {
		set(t, c.socket, c.usec, c.pid)
		n, err := FromEnvironment()
		if (n != nil) != c.there || n.WatchdogTime() != c.watchdog || (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%+v: %v, %v, %v", c, n != nil, n.WatchdogTime(), err)
		}
	}
}

// Without a manager nothing is sent, and one that is gone is an error and no more.
func TestNobodyListens(t *testing.T) {
	var none *Notifier
	if err := none.Ready("serves"); err != nil {
		t.Error(err)
	}
	set(t, filepath.Join(t.TempDir(), "notify"), "", "")
	n, err := FromEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Ready("serves"); err == nil || !strings.Contains(err.Error(), "telling the service manager READY=1") {
		t.Errorf("the error is %v", err)
	}
}

// The manager gets the descriptor that it is to hold.
func TestStore(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	m := manager(t, name)
	set(t, name, "", "")
	n, err := FromEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "held"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := n.Store("held.1", int(f.Fd())); err != nil {
		t.Fatal(err)
	}
	b, oob := make([]byte, 100), make([]byte, unix.CmsgSpace(4))
	k, with, _, _, err := m.ReadMsgUnix(b, oob)
	if err != nil || string(b[:k]) != "FDSTORE=1\nFDNAME=held.1\nFDPOLL=0" {
		t.Fatalf("the manager hears %q, %v", b[:k], err)
	}
	all, err := unix.ParseSocketControlMessage(oob[:with])
	if err != nil || len(all) != 1 {
		t.Fatalf("%d descriptors come, %v", len(all), err)
	}
	fds, err := unix.ParseUnixRights(&all[0])
	if err != nil || len(fds) != 1 {
		t.Fatalf("%v come, %v", fds, err)
	}
	got := os.NewFile(uintptr(fds[0]), "got")
	defer got.Close()
	one, _ := got.Stat()
	if two, _ := f.Stat(); !os.SameFile(one, two) {
		t.Error("the manager gets another descriptor")
	}
	if err := n.Unstore("held.1"); err != nil {
		t.Fatal(err)
	}
	if have := heard(t, m); have != "FDSTOREREMOVE=1\nFDNAME=held.1" {
		t.Errorf("the manager hears %q", have)
	}
}

// A process whose supervisor has the manager sends the same messages through it.
func TestThrough(t *testing.T) {
	var sent []string
	n := Through(func(message string) error {
		if len(sent) == 2 {
			return os.ErrClosed
		}
		sent = append(sent, message)
		return nil
	}, time.Second)
	if err := n.Ready("serves"); err != nil || n.WatchdogTime() != time.Second {
		t.Errorf("%v, %v", err, n.WatchdogTime())
	}
	if err := n.Pass("STATUS=one\nWATCHDOG=1"); err != nil {
		t.Error(err)
	}
	if got := strings.Join(sent, "|"); got != "READY=1\nSTATUS=serves|STATUS=one\nWATCHDOG=1" {
		t.Errorf("it has sent %q", got)
	}
	if err := n.Alive(); err == nil || !strings.Contains(err.Error(), "telling the service manager WATCHDOG=1") {
		t.Errorf("the error is %v", err)
	}
}
