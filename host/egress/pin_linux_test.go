package egress

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// What becomes of a path after it was looked at does not matter: the socket
// that was found is the one that is dialled, and whose path is checked.
func TestPinHoldsTheSocket(t *testing.T) {
	dir := folders(t)
	good, bad := dir+"/open/good", dir+"/shut/bad"
	listen(t, "unix", good)
	listen(t, "unix", bad)
	path := dir + "/open/x"
	link(t, good, path)
	socket, err := pin(path)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.release()
	if socket.path != good {
		t.Errorf("%s leads to %s", path, socket.path)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	link(t, bad, path)
	conn, err := net.Dial("unix", socket.dial)
	if err != nil {
		t.Fatal(err)
	}
	greeted(t, conn, good)
}

// Somebody who may write to the folder swaps a link as fast as he can, and
// never gets a connection out of the folder.
func TestSwappedLinks(t *testing.T) {
	dir := folders(t)
	good, bad := dir+"/open/good", dir+"/shut/bad"
	listen(t, "unix", good)
	listen(t, "unix", bad)
	path := dir + "/open/x"
	link(t, good, path)
	p := policy(t, "unix://"+dir+"/open/*")
	stop := make(chan bool)
	var swapper sync.WaitGroup
	swapper.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			next := filepath.Join(dir, fmt.Sprint("next", i))
			if os.Symlink([]string{good, bad}[i%2], next) != nil || os.Rename(next, path) != nil {
				t.Error("the links cannot be swapped")
				return
			}
		}
	})
	var connected, denied int
	for range 300 {
		conn, err := new(Dialer).Connect(soon(t), p, target(t, "unix://"+path))
		switch {
		case err == nil:
			connected++
			buf := make([]byte, 200)
			n, _ := conn.Read(buf)
			if string(buf[:n]) != good+"\n" {
				t.Errorf("connected to %q", buf[:n])
			}
			conn.Close()
		case KindOf(err) == Denied:
			denied++
		default:
			t.Error(err)
		}
	}
	close(stop)
	swapper.Wait()
	t.Logf("%d connected, %d denied", connected, denied)
}

// No descriptor is left behind.
func TestPinsAreReleased(t *testing.T) {
	dir := folders(t)
	listen(t, "unix", dir+"/open/a")
	listen(t, "unix", dir+"/shut/b")
	link(t, dir+"/shut/b", dir+"/open/b")
	p := policy(t, "unix://"+dir+"/open/*")
	held := func() (n int) {
		all, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			if to, _ := os.Readlink("/proc/self/fd/" + e.Name()); filepath.Dir(filepath.Dir(to)) == dir {
				n++
			}
		}
		return n
	}
	before := held()
	for range 10 {
		for _, name := range []string{"a", "b", "none"} {
			if conn, err := new(Dialer).Connect(soon(t), p, target(t, "unix://"+dir+"/open/"+name)); err == nil {
				conn.Close()
			}
		}
	}
	if after := held(); after != before {
		t.Errorf("%d descriptors of places in %s are open, %d were before", after, dir, before)
	}
}
