package compiler

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// outside is what a child is told of the world around it, to try it.
type outside struct {
	Port   int    // that its parent listens at, TCP on 127.0.0.1
	Socket string // abstract, at which its parent listens
	Path   string // of a file that anybody may read
	Parent int
}

// trying is a task that tries what a task has no use for. It says what came of each.
var trying = Task{"tries", func(in io.Reader, out io.Writer) error {
	var o outside
	fmt.Fprintln(out, "{?")
	if err := json.NewDecoder(in).Decode(&o); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(try(o))
}}

// tries is a child that compiles, and tries the same.
func tries(args []string) int {
	return confined(func() int {
		_ = json.NewEncoder(os.Stdout).Encode(try(outside{Path: "/etc/passwd"}))
		return statusRefused
	})(args)
}

// try does all in the thread of its caller, since in a program with C no other can be restricted.
func try(o outside) map[string]string {
	said := make(map[string]string)
	do := func(what string, err error) { said[what] = fmt.Sprint(err) }
	connect := func(family int, a unix.Sockaddr) error {
		fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Connect(fd, a)
	}
	open := func(path string, flags int) error {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
		if err == nil {
			unix.Close(fd)
		}
		return err
	}
	do("read a file", open(o.Path, unix.O_RDONLY))
	do("read /proc", open("/proc/self/status", unix.O_RDONLY))
	do("list the root", open("/", unix.O_RDONLY|unix.O_DIRECTORY))
	do("list its folder", open(".", unix.O_RDONLY|unix.O_DIRECTORY))
	do("make a file", open("made", unix.O_WRONLY|unix.O_CREAT))
	do("make a folder", unix.Mkdir("folder", 0o700))
	do("make a link", unix.Symlink("/etc", "link"))
	do("connect by TCP", connect(unix.AF_INET, &unix.SockaddrInet4{Port: o.Port, Addr: [4]byte{127, 0, 0, 1}}))
	do("connect to an abstract socket", connect(unix.AF_UNIX, &unix.SockaddrUnix{Name: o.Socket}))
	do("signal its parent", unix.Kill(o.Parent, 0))
	return said
}

// since is the version of Landlock that something takes, where it is not the first.
var since = map[string]int{"connect by TCP": 4, "connect to an abstract socket": 6, "signal its parent": 6}

// A child that does a task can open and reach nothing, whoever started it. One that compiles has
// its working directory besides.
func TestLandlock(t *testing.T) {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		t.Skipf("the kernel has no Landlock: %v", errno)
	}
	if errata, _, _ := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_ERRATA); errata&signalsErratum == 0 {
		since["signal its parent"] = 1 << 30
	}
	o := outside{Socket: fmt.Sprintf("@bulkhead-test-%d", os.Getpid()), Path: "/etc/passwd", Parent: os.Getpid()}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	o.Port = ln.Addr().(*net.TCPAddr).Port
	abstract, err := net.Listen("unix", o.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer abstract.Close()
	said := make(map[string]string)
	err = self("converse", Limits{}).Converse(context.Background(), t.TempDir(), "tries", func(line []byte, answer io.Writer) error {
		if string(line) == "{?" {
			return json.NewEncoder(answer).Encode(o)
		}
		return json.Unmarshal(line, &said)
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(said) != 10 {
		t.Errorf("it tried %d things: %v", len(said), said)
	}
	for what, err := range said {
		if since[what] > int(v) {
			continue
		}
		// As root's, it has another root directory besides.
		if err == "<nil>" || !strings.Contains(err, "denied") && !strings.Contains(err, "not permitted") && !strings.Contains(err, "no such file") {
			t.Errorf("%s: %s", what, err)
		}
	}
	var compiles map[string]string
	_, err = self("tries", Limits{}).Compile(context.Background(), nil, t.TempDir())
	if err == nil || json.Unmarshal([]byte(err.Error()), &compiles) != nil {
		t.Fatalf("a child that compiles said %v", err)
	}
	for _, what := range []string{"list its folder", "make a file", "make a folder"} {
		if compiles[what] != "<nil>" {
			t.Errorf("a child that compiles cannot %s: %s", what, compiles[what])
		}
	}
	for _, what := range []string{"read a file", "read /proc", "make a link"} {
		if compiles[what] == "<nil>" {
			t.Errorf("a child that compiles can %s", what)
		}
	}
}

// Where nothing but Landlock keeps a child from the files, since it is not root that starts it, it
// holds, too.
func TestLandlockOfAUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("TestLandlock is that already, where we are not root")
	}
	dir, err := os.MkdirTemp("/tmp", "bulkhead-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestLandlock$", "-test.v")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TMPDIR="+dir, "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if !strings.Contains(string(said), "--- PASS: TestLandlock") && !strings.Contains(string(said), "--- SKIP: TestLandlock") {
		t.Errorf("it says\n%s", said)
	}
}
