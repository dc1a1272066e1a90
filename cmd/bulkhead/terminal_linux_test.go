package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"

	"bulkhead/internal/awaittest"

	"golang.org/x/sys/unix"
)

// On a terminal the log is for people to read.
func TestTheLogIsTextOnATerminal(t *testing.T) {
	master, terminal := openTerminal(t)
	for _, form := range []string{"auto", "json"} {
		q, _ := newLog(terminal, form, "info", nil)
		q.Logger().Info("said", "key", "a value")
		q.Close(patience)
	}
	_ = master.SetReadDeadline(awaittest.Deadline())
	lines := bufio.NewScanner(master)
	for _, want := range []string{`level=INFO msg=said key="a value"`, `"msg":"said"`} {
		if !lines.Scan() || !strings.Contains(lines.Text(), want) {
			t.Errorf("the terminal shows %q (%v), want %q", lines.Text(), lines.Err(), want)
		}
	}
}

// openTerminal makes a pseudo-terminal.
func openTerminal(t *testing.T) (master, terminal *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Skipf("no terminal to be had: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	raw, err := master.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	var ctlErr error
	err = raw.Control(func(fd uintptr) {
		if ctlErr = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); ctlErr == nil {
			n, ctlErr = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	if err != nil || ctlErr != nil {
		t.Skipf("no terminal to be had: %v, %v", err, ctlErr)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminal to be had: %v", err)
	}
	t.Cleanup(func() { terminal.Close() })
	return master, terminal
}
