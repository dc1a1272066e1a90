package egress

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
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
		conn, err := connect(p, target(t, "unix://"+path))
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
			if conn, err := connect(p, target(t, "unix://"+dir+"/open/"+name)); err == nil {
				conn.Close()
			}
		}
	}
	if after := held(); after != before {
		t.Errorf("%d descriptors of places in %s are open, %d were before", after, dir, before)
	}
}

// The kernel's path of a file that is deleted, or that another process sees elsewhere, is
// a text that may look like a listed path. It has to lead there from here.
func TestPathsThatLeadNowhere(t *testing.T) {
	dir := folders(t)
	listen(t, "unix", dir+"/open/ghost")
	fd, err := openPath(dir + "/open/ghost")
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	link(t, fmt.Sprintf("/proc/self/fd/%d", fd), dir+"/open/x")
	p := policy(t, "unix://"+dir+"/open/*")
	conn, err := connect(p, target(t, "unix://"+dir+"/open/x"))
	if err != nil {
		t.Fatal(err)
	}
	greeted(t, conn, dir+"/open/ghost")
	if err := os.Rename(dir+"/open/ghost", dir+"/shut/ghost"); err != nil {
		t.Fatal(err)
	}
	if conn, err := connect(p, target(t, "unix://"+dir+"/open/x")); KindOf(err) != Denied {
		t.Errorf("moved away: %v, %v", conn, err)
	}
	if err := os.Remove(dir + "/shut/ghost"); err != nil {
		t.Fatal(err)
	}
	q := policy(t, "unix://"+dir+"/open/*", "unix://"+dir+"/shut/*") // "ghost (deleted)" is in it
	if conn, err := connect(q, target(t, "unix://"+dir+"/open/x")); KindOf(err) != NotFound {
		t.Errorf("deleted: %v, %v", conn, err)
	}
}

// Whoever may write to a listed folder and make namespaces has a process of his see a
// folder that is not listed in the place of one that is, and a link lead there.
func TestOtherMounts(t *testing.T) {
	const helper = "BULKHEAD_TEST_MOUNTS"
	if dir := os.Getenv(helper); dir != "" {
		if err := syscall.Mount(dir+"/shut", dir+"/open", "", syscall.MS_BIND, ""); err != nil {
			fmt.Println("no mount:", err)
			return
		}
		fmt.Println("mounted")
		_, _ = os.Stdin.Read(make([]byte, 1))
		return
	}
	dir := folders(t)
	listen(t, "unix", dir+"/shut/db")
	c := exec.Command(os.Args[0], "-test.run=^TestOtherMounts$")
	c.Env = append(os.Environ(), helper+"="+dir)
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Skip("there are no namespaces for this test:", err)
	}
	defer func() { in.Close(); _ = c.Wait() }()
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "mounted\n" {
		t.Skip("there are no mounts for this test:", line)
	}
	link(t, fmt.Sprintf("/proc/%d/root%s/open/db", c.Process.Pid, dir), dir+"/open/x")
	if _, err := os.Stat(dir + "/open/x"); err != nil {
		t.Skip("the other process's root cannot be seen:", err)
	}
	p := policy(t, "unix://"+dir+"/open/*")
	if conn, err := connect(p, target(t, "unix://"+dir+"/open/x")); err == nil {
		t.Errorf("connected to %s", conn.RemoteAddr())
	}
}
