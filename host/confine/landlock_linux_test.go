package confine

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"bulkhead/host/config"
	"bulkhead/internal/certstest"

	"golang.org/x/sys/unix"
)

// The test binary is also the process that is confined, since there is no way back.
func TestMain(m *testing.M) {
	switch os.Getenv("CONFINE_AS") {
	case "":
		os.Exit(m.Run())
	case "landlock":
		if err := json.NewEncoder(os.Stdout).Encode(underLandlock()); err != nil {
			panic(err)
		}
	case "user":
		if err := json.NewEncoder(os.Stdout).Encode(asUser()); err != nil {
			panic(err)
		}
	case "seccomp":
		if err := json.NewEncoder(os.Stdout).Encode(underSeccomp()); err != nil {
			panic(err)
		}
	case "child": // that it may start
	}
	os.Exit(0)
}

// runAs runs the test binary as another, and gives what it says.
func runAs(t *testing.T, as, dir string) []byte {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Dir, cmd.Env, cmd.Stderr = dir, append(os.Environ(), "CONFINE_AS="+as), os.Stderr
	said, err := cmd.Output()
	if err != nil {
		t.Fatalf("the process that is confined: %v", err)
	}
	return said
}

// onThreads starts threads, which are older than what is put in force after it returns, and begin
// has each of them try. It gives what each says.
func onThreads[A any](try func(own string) A) (begin func() []A) {
	var ready, over sync.WaitGroup
	begun := make(chan struct{})
	said := make([]A, 4)
	for i := range said {
		ready.Add(1)
		over.Go(func() {
			runtime.LockOSThread()
			ready.Done()
			<-begun
			said[i] = try(fmt.Sprint(i))
		})
	}
	ready.Wait()
	return func() []A {
		close(begun)
		over.Wait()
		return said
	}
}

// attempts are what is tried under Landlock, in a folder of the test's. Each true one has to work.
var attempts = map[string]bool{
	"read plugin": true, "read config": true, "read certificate": true, "read token": true, "read replaced plugin": true, "read resolv.conf": true,
	"list folder": true, "read folder": true, "list state": true, "make in state": true, "move in state": true, "remove in state": true,
	"append to log": true, "reopen log": true, "make socket": true, "read maps": true, "read max_map_count": true, "open null": true,
	"start itself": true, "executable memory": true, "memfd": true,

	"read other": false, "list other": false, "make in config": false, "change plugin": false, "remove plugin": false,
	"make in folder": false, "read log": false, "make other": false, "start true": false, "start from state": false, "signal parent": false,
	"read parent's environment": false, "make socket elsewhere": false, "list root": false,
}

// underLandlock tries everything on threads that are older than the confinement, and on others.
func underLandlock() map[string][]string {
	cfg, err := config.LoadToRun("conf/a.toml")
	if err != nil {
		panic(err)
	}
	begin := onThreads(try)
	r, err := Enforce(cfg)
	if err != nil || !r.Landlock.InForce {
		panic(fmt.Sprint(r, err))
	}
	all := make(map[string][]string)
	for _, one := range begin() {
		for what, err := range one {
			all[what] = append(all[what], err)
		}
	}
	return all
}

func try(own string) map[string]string {
	said := make(map[string]string)
	do := func(what string, err error) {
		said[what] = ""
		if err != nil {
			said[what] = err.Error()
		}
	}
	readFile := func(path string) error { _, err := os.ReadFile(path); return err }
	list := func(path string) error { _, err := os.ReadDir(path); return err }
	openFile := func(path string, flags int) error {
		f, err := os.OpenFile(path, flags, 0o600)
		if err == nil {
			f.Close()
		}
		return err
	}
	bind := func(path string) error {
		ln, err := net.Listen("unix", path)
		if err == nil {
			ln.Close()
		}
		return err
	}
	start := func(path string) error {
		cmd := exec.Command(path)
		cmd.Env = []string{"CONFINE_AS=child"}
		return cmd.Run()
	}
	do("read plugin", readFile("plugins/echo.wasm"))
	do("read config", readFile("conf/a.toml"))
	do("read token", readFile("secrets/token"))
	do("read certificate", readFile("real/cert.pem"))
	do("read replaced plugin", readFile("plugins/new.wasm"))
	do("read resolv.conf", func() error {
		if err := readFile("/etc/resolv.conf"); !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}())
	do("list folder", list("folder/below"))
	do("read folder", readFile("folder/below/text"))
	do("list state", list("state"))
	do("make in state", errors.Join(os.MkdirAll("state/a"+own, 0o700), os.MkdirAll("state/b"+own, 0o700), os.WriteFile("state/a"+own+"/f", nil, 0o700)))
	do("start from state", start("state/a"+own+"/f"))
	do("move in state", os.Rename("state/a"+own+"/f", "state/b"+own+"/f"))
	do("remove in state", os.RemoveAll("state/b"+own))
	do("append to log", openFile("logs/access.log", os.O_WRONLY|os.O_APPEND|os.O_CREATE))
	do("reopen log", openFile("logs/access"+own, os.O_WRONLY|os.O_APPEND|os.O_CREATE))
	do("read log", openFile("logs/access.log", os.O_RDONLY))
	do("make socket", bind("sockets/s"+own))
	do("make socket elsewhere", bind("other/s"+own))
	do("read maps", readFile("/proc/self/maps"))
	do("read max_map_count", readFile("/proc/sys/vm/max_map_count"))
	do("open null", openFile(os.DevNull, os.O_RDWR))
	do("start itself", start("/proc/self/exe"))
	do("start true", start("/bin/true"))
	do("executable memory", func() error {
		page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err == nil {
			err = errors.Join(unix.Mprotect(page, unix.PROT_READ|unix.PROT_EXEC), unix.Munmap(page))
		}
		return err
	}())
	do("memfd", func() error {
		fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return openFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_RDWR)
	}())
	do("read other", readFile("other/secret"))
	do("list other", list("other"))
	do("list root", list("/"))
	do("make other", os.WriteFile("other/new", nil, 0o600))
	do("make in config", os.WriteFile("conf/b.toml", nil, 0o600))
	do("make in folder", os.WriteFile("folder/new", nil, 0o600))
	do("change plugin", openFile("plugins/echo.wasm", os.O_WRONLY))
	do("remove plugin", os.Remove("plugins/echo.wasm"))
	do("signal parent", syscall.Kill(os.Getppid(), 0))
	do("read parent's environment", readFile(fmt.Sprintf("/proc/%d/environ", os.Getppid())))
	return said
}

// Under Landlock the process does what it has to, and nothing else, whatever the thread.
func TestLandlock(t *testing.T) {
	abi, err := landlockABI()
	if err != nil {
		t.Skip(err)
	}
	t.Chdir(t.TempDir())
	for path, text := range map[string]string{
		"conf/a.toml": `[host]
state = "../state"
[admin]
access_log = "../logs/access.log"
address = "127.0.0.1:0"
token = "../secrets/token"
[tenant.acme]
[[listener]]
name = "echo"
tenant = "acme"
address = "unix://../sockets/s"
plugin = "../plugins/echo.wasm"
[listener.tls]
cert = "../links/cert.pem"
key = "../links/key.pem"
[[listener]]
name = "program"
tenant = "acme"
shape = "stdio"
folder = "../folder"
address = "unix://../sockets/t"
plugin = "../plugins/echo.wasm"
`,
		"plugins/echo.wasm": "\x00asm", "plugins/new.wasm": "", "folder/below/text": "", "other/secret": "", "secrets/token": "", "logs/none": "", "sockets/none": "", "state/none": "",
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir("real", 0o700), os.Mkdir("links", 0o700), os.Symlink("../real/cert.pem", "links/cert.pem"), os.Symlink("../real/key.pem", "links/key.pem")); err != nil {
		t.Fatal(err)
	}
	cert, key := certstest.NewAuthority(t).Issue(t, "a.example")
	if err := errors.Join(os.WriteFile("real/cert.pem", cert, 0o600), os.WriteFile("real/key.pem", key, 0o600)); err != nil {
		t.Fatal(err)
	}
	var said map[string][]string
	if err := json.Unmarshal(runAs(t, "landlock", "."), &said); err != nil {
		t.Fatal(err)
	}
	if have, want := slices.Sorted(maps.Keys(said)), slices.Sorted(maps.Keys(attempts)); !slices.Equal(have, want) {
		t.Errorf("tried were  %q\nand not all %q", have, want)
	}
	const signalsABI = 6
	for what, works := range attempts {
		if what == "signal parent" && abi < signalsABI {
			continue
		}
		for _, err := range said[what] {
			if works && err != "" || !works && !strings.Contains(err, "permission denied") && !strings.Contains(err, "operation not permitted") {
				t.Errorf("%s: %q", what, err)
			}
		}
	}
}
