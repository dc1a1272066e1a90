package admin

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// gone is the number of a process that there was.
func gone(t *testing.T) int {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^$")
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	return c.Process.Pid
}

// A daemon that was killed may have the folder for a moment yet, by its worker: the next one waits.
// It does not wait for one that lives.
func TestAKilledDaemonsFolder(t *testing.T) {
	state := t.TempDir()
	f, err := os.Create(filepath.Join(state, lockName))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for said, want := range map[string]bool{
		fmt.Sprintf("process %d, which serves /etc/a.toml\n", gone(t)):     true,
		fmt.Sprintf("process %d, which serves /etc/a.toml\n", os.Getpid()): false,
		"": false, "process": false, "process -1, which": false, "process 0, which": false, "process x, which": false,
	} {
		if err := f.Truncate(0); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte(said), 0); err != nil {
			t.Fatal(err)
		}
		if holderIsGone(f) != want {
			t.Errorf("of %q it says %v", said, !want)
		}
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	var held *LockedError
	if _, err := Listen(state, Options{File: "/etc/a.toml", Version: "one", Log: slog.Default()}); !errors.As(err, &held) {
		t.Fatalf("the lock of one that lives: %v", err)
	}
	if err := f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(f, "process %d, which serves /etc/a.toml\n", gone(t)); err != nil {
		t.Fatal(err)
	}
	opened := make(chan error, 1)
	go func() {
		d, err := Listen(state, Options{File: "/etc/a.toml", Version: "one", Log: slog.Default()})
		if err == nil {
			d.Close()
		}
		opened <- err
	}()
	f.Close() // as the kernel does when the worker has gone
	if err := <-opened; err != nil {
		t.Error(err)
	}
}
