package supervisor

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bulkhead/internal/awaittest"

	"golang.org/x/sys/unix"
)

// ends are two ends that talk to each other.
func ends(t *testing.T) (a, b *conn) {
	t.Helper()
	fa, fb, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.SetNonblock(int(fb.Fd()), true)
	if a, err = newConn(fa); err != nil {
		t.Fatal(err)
	}
	if b, err = newConn(fb); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.close(); b.close() })
	return a, b
}

// Messages come whole and in order, each with its own descriptor, however many wait.
func TestMessages(t *testing.T) {
	a, b := ends(t)
	const n = 200
	for i := range n {
		m := message{Kind: kindHold, Number: i, Note: bytes.Repeat([]byte{byte(i)}, i*50), fd: -1}
		if i%3 == 0 {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			_, _ = w.Write([]byte{byte(i)})
			w.Close()
			if m.fd, err = unix.Dup(int(r.Fd())); err != nil {
				t.Fatal(err)
			}
			r.Close()
		}
		a.send(m)
	}
	for i := range n {
		m, err := b.receive()
		if err != nil {
			t.Fatal(err)
		}
		if m.Number != i || !bytes.Equal(m.Note, bytes.Repeat([]byte{byte(i)}, i*50)) || (m.fd >= 0) != (i%3 == 0) {
			t.Fatalf("message %d is number %d, of %d bytes, with descriptor %d", i, m.Number, len(m.Note), m.fd)
		}
		if m.fd >= 0 {
			if flags, err := unix.FcntlInt(uintptr(m.fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Fatalf("a child would get the descriptor: %v", err)
			}
			f := os.NewFile(uintptr(m.fd), "received")
			got, err := io.ReadAll(f)
			if err != nil || len(got) != 1 || got[0] != byte(i) {
				t.Fatalf("message %d came with another descriptor: %v, %v", i, got, err)
			}
			f.Close()
		}
	}
	a.close()
	if _, err := b.receive(); !errors.Is(err, io.EOF) {
		t.Fatalf("behind the end comes %v", err)
	}
	b.close()
	b.send(message{fd: -1}) // which nobody waits for
}

func TestMessagesThatMakeNoSense(t *testing.T) {
	for what, b := range map[string][]byte{
		"more than": binary.BigEndian.AppendUint32(nil, longestMessage+1),
		"no JSON":   append(binary.BigEndian.AppendUint32(nil, 3), "abc"...),
		"EOF":       append(binary.BigEndian.AppendUint32(nil, 30), "abc"...),
	} {
		to, from := ends(t)
		if _, err := to.c.Write(b); err != nil {
			t.Fatal(err)
		}
		_ = to.c.CloseWrite()
		if _, err := from.receive(); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%q: %v", b, err)
		}
	}
}

// A worker knows what it was told, and what it asks for is done before Settle returns.
func TestLink(t *testing.T) {
	sup, own := ends(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	fd, err := unix.Dup(int(w.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	sup.send(message{Kind: "of a later version", fd: -1})
	sup.send(message{Kind: kindSocket, Name: "1/1", Note: []byte("note"), fd: fd})
	sup.send(message{Kind: kindBegin, fd: -1, Begin: &Begin{PID: 77, Restarts: 3, Why: "killed", Managed: true, Watchdog: time.Second}})
	l, err := newLink(own)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Sockets) != 1 || l.Sockets[0].Name != "1/1" || string(l.Sockets[0].Note) != "note" || l.Begin.Restarts != 3 {
		t.Fatalf("the worker knows %+v, %+v", l.Begin, l.Sockets)
	}
	unix.Close(l.Sockets[0].FD)
	sup.send(message{Kind: kindSignal, Number: int(syscall.SIGHUP), fd: -1})
	if s := <-l.Signals(); s != syscall.SIGHUP {
		t.Fatalf("the signal is %v", s)
	}

	var settled sync.WaitGroup
	settled.Go(func() {
		l.Hold("1/2", []byte("two"), int(r.Fd()))
		l.Release("1/1")
		l.Settle()
	})
	var kinds []string
	for range 3 {
		m, err := sup.receive()
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, m.Kind+m.Name)
		if (m.fd >= 0) != (m.Kind == kindHold) {
			t.Errorf("%s comes with descriptor %d", m.Kind, m.fd)
		}
		if m.Kind == kindSync {
			sup.send(message{Kind: kindSettled, Number: m.Number, fd: -1})
		}
		m.drop()
	}
	if got := strings.Join(kinds, " "); got != "hold1/2 release1/1 sync" {
		t.Fatalf("the supervisor hears %s", got)
	}
	settled.Wait()

	// When the supervisor has gone, the worker is told to close everything, and waits for nothing.
	sup.close()
	for range 2 {
		if s := <-l.Signals(); s != syscall.SIGTERM {
			t.Fatalf("the signal is %v", s)
		}
	}
	l.Settle()
	awaittest.Until(t, "notifying fails", func() bool { return l.Notify("READY=1") != nil })
}

func TestEnvironment(t *testing.T) {
	if l, err := FromEnvironment(); l != nil || err != nil {
		t.Fatalf("without a supervisor there is %v, %v", l, err)
	}
	for _, wrong := range []string{"", "x", "-1", "2", "99999"} {
		t.Setenv(variable, wrong)
		if l, err := FromEnvironment(); l != nil || err == nil || !strings.Contains(err.Error(), "leave it unset") {
			t.Errorf("%s=%s: %v, %v", variable, wrong, l, err)
		}
		if _, there := os.LookupEnv(variable); there {
			t.Error("a child would inherit it")
		}
	}
	_, own := ends(t)
	own.close()
	if _, err := newLink(own); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("a supervisor that says nothing is %v", err)
	}
}
