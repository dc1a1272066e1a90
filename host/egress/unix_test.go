package egress

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// folders makes a folder with the folders open and shut in it; its path has no links.
func folders(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "egress") // short: a socket's path holds about 100 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"open", "open/below", "shut"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func link(t *testing.T, to, at string) {
	t.Helper()
	if err := os.Symlink(to, at); err != nil {
		t.Fatal(err)
	}
}

// listen listens on address until the test ends, and greets who comes with it.
func listen(t testing.TB, network, address string) net.Addr {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { ln.Close(); all.Wait() })
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(c, address)
			c.Close()
		}
	})
	return ln.Addr()
}

func greeted(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	buf := make([]byte, 200)
	n, err := conn.Read(buf)
	if err != nil || string(buf[:n]) != want+"\n" {
		t.Errorf("greeted with %q, %v; want %q", buf[:n], err, want)
	}
}

// connect connects to the unix socket that Find finds.
func connect(p *Policy, t Target) (net.Conn, error) {
	path, release, err := p.Find(t)
	if err != nil {
		return nil, err
	}
	defer release()
	conn, err := net.Dial("unix", path)
	if err != nil {
		err = cause(err)
		return nil, fail(KindOf(err), t, "%w", err)
	}
	return conn, nil
}

func TestUnixSockets(t *testing.T) {
	dir := folders(t)
	open, shut := filepath.Join(dir, "open"), filepath.Join(dir, "shut")
	for _, s := range []string{open + "/a", open + "/below/b", shut + "/db", shut + "/one"} {
		listen(t, "unix", s)
	}
	link(t, shut+"/db", open+"/to-shut")       // out of the folder
	link(t, "../shut/one", open+"/to-one")     // out of it, to one that is listed
	link(t, "a", open+"/to-a")                 // within it
	link(t, shut, open+"/dir")                 // a folder
	link(t, open+"/loop", open+"/loop")        // nowhere
	link(t, open+"/missing", open+"/dangling") // to what is not there
	link(t, open, dir+"/alias")                // to the folder
	link(t, "../../shut/db", open+"/below/up") // relative
	if err := os.WriteFile(open+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := policy(t, "unix://"+open+"/*", "unix://"+shut+"/one", "unix://"+dir+"/alias/*")
	for path, want := range map[string]any{
		open + "/a":            open + "/a",
		open + "/to-a":         open + "/a",
		open + "/to-one":       shut + "/one",
		shut + "/one":          shut + "/one",
		dir + "/alias/a":       open + "/a",
		open + "/to-shut":      Denied,
		open + "/dir":          Denied,
		open + "/dir/db":       Denied,
		open + "/below/b":      Denied,
		open + "/below/up":     Denied,
		shut + "/db":           Denied,
		open:                   Denied,
		dir + "/alias/to-shut": Denied,
		open + "/loop":         Denied,
		open + "/missing":      NotFound,
		open + "/dangling":     NotFound,
		open + "/file":         Refused,
		shut + "/one/x":        Denied,
		open + "/a/x":          Denied,
	} {
		conn, err := connect(p, target(t, "unix://"+path))
		switch want := want.(type) {
		case string:
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			greeted(t, conn, want)
		case Kind:
			if conn != nil || KindOf(err) != want {
				t.Errorf("%s: %v, %v, a %v error; want %v", path, conn, err, KindOf(err), want)
			} else {
				checkText(t, err)
			}
		}
	}
	if _, err := connect(p, target(t, "unix://"+open+"/to-shut")); !strings.Contains(fmt.Sprint(err), fmt.Sprintf("it leads to %q, which is not in the tenant's connect list; add %q to permit it", shut+"/db", "unix://"+shut+"/db")) {
		t.Errorf("the mend is missing: %v", err)
	}
}

// Find is for those who connect by themselves.
func TestFind(t *testing.T) {
	dir := folders(t)
	listen(t, "unix", dir+"/open/a")
	listen(t, "unix", dir+"/shut/db")
	link(t, "a", dir+"/open/to-a")
	link(t, dir+"/shut/db", dir+"/open/to-db")
	p := policy(t, "unix://"+dir+"/open/*", "127.0.0.1:80")
	for _, name := range []string{"a", "to-a"} {
		path, release, err := p.Find(target(t, "unix://"+dir+"/open/"+name))
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		greeted(t, conn, dir+"/open/a")
		release()
	}
	for s, want := range map[string]Kind{"unix://" + dir + "/open/to-db": Denied, "unix://" + dir + "/shut/db": Denied, "unix://" + dir + "/open/none": NotFound, "tcp://127.0.0.1:80": Invalid} {
		if path, release, err := p.Find(target(t, s)); KindOf(err) != want || path != "" || release != nil {
			t.Errorf("%s: %q, %v, a %v error", s, path, err, KindOf(err))
		}
	}
}

// The way without /proc: links are followed first, and what they lead to is
// what is listed and dialled.
func TestPinPath(t *testing.T) {
	dir := folders(t)
	link(t, dir+"/shut/db", dir+"/open/x")
	listen(t, "unix", dir+"/shut/db")
	got, err := pinPath(dir + "/open/x")
	if err != nil || got.path != dir+"/shut/db" || got.dial != got.path {
		t.Errorf("%+v %v", got, err)
	}
	got.release()
	if _, err := pinPath(dir + "/open/none"); KindOf(err) != NotFound {
		t.Error(err)
	}
}

// A socket that nobody serves any more, and one that takes no streams.
func TestUnixRefused(t *testing.T) {
	dir := folders(t)
	stale, gram := dir+"/open/stale", dir+"/open/gram"
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
	pc, err := net.ListenPacket("unixgram", gram)
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	p := policy(t, "unix://"+dir+"/open/*")
	for _, path := range []string{stale, gram} {
		if _, err := connect(p, target(t, "unix://"+path)); KindOf(err) != Refused {
			t.Errorf("%s: %v, a %v error", path, err, KindOf(err))
		}
	}
	if os.Geteuid() != 0 { // root may do anything
		locked := dir + "/open/locked"
		listen(t, "unix", locked)
		if err := os.Chmod(locked, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := connect(p, target(t, "unix://"+locked)); KindOf(err) != Denied {
			t.Errorf("%v, a %v error", err, KindOf(err))
		}
	}
}
