package listen_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"bulkhead/host/listen"

	"golang.org/x/sys/unix"
)

func TestUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	s := open(t, "unix", path, listen.Options{})
	if s.Addr != path {
		t.Errorf("it listens on %s", s.Addr)
	}
	ours(t, s.FD)
	serves(t, s, "unix", path)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket's file is left: %v", err)
	}
}

// The mode is what is asked for whatever the process's umask, which stays as
// it was; with none asked for, nobody else may connect.
func TestUnixMode(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o027))
	dir := t.TempDir()
	for asked, want := range map[fs.FileMode]fs.FileMode{0: 0o600, 0o600: 0o600, 0o660: 0o660, 0o666: 0o666, 0o777: 0o777} {
		path := filepath.Join(dir, strconv.FormatUint(uint64(asked), 8))
		open(t, "unix", path, listen.Options{Mode: asked})
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode(); got != want|fs.ModeSocket {
			t.Errorf("mode %o was asked for: the file has %v", asked, got)
		}
	}
	if mask := syscall.Umask(0o027); mask != 0o027 {
		t.Errorf("the umask is %o afterwards", mask)
	}
}

func TestUnixOwner(t *testing.T) {
	dir := t.TempDir()
	user, group := os.Geteuid(), os.Getegid()
	type want struct{ uid, gid int }
	cases := map[string]want{
		"": {user, group},
		strconv.Itoa(user) + ":" + strconv.Itoa(group): {user, group},
		":" + strconv.Itoa(group):                      {user, group},
		strconv.Itoa(user):                             {user, group},
	}
	if user == 0 { // only root may give files away
		cases["4711"] = want{4711, group}
		cases[":4712"] = want{user, 4712}
		cases["4711:4712"] = want{4711, 4712}
		cases["root"] = want{0, group}
	}
	for owner, want := range cases {
		path := filepath.Join(dir, "sock"+owner)
		open(t, "unix", path, listen.Options{Owner: owner, Mode: 0o660})
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			t.Fatal(err)
		}
		if int(st.Uid) != want.uid || int(st.Gid) != want.gid || st.Mode&0o777 != 0o660 {
			t.Errorf("owner %q: the file is %d's and %d's, with mode %o", owner, st.Uid, st.Gid, st.Mode&0o777)
		}
	}
}

func TestNoSuchOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	refused(t, "unix", path, listen.Options{Owner: "no-such-user-here"}, `"no-such-user-here"`, "there is no such user")
	refused(t, "unix", path, listen.Options{Owner: ":no-such-group-here"}, `"no-such-group-here"`, "there is no such group")
	if os.Geteuid() != 0 {
		refused(t, "unix", path, listen.Options{Owner: "0"}, "not permitted")
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file was left: %v", err)
	}
}

// bound makes the file of a socket; nobody listens on it.
func bound(t *testing.T, path string, kind int) (fd int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, kind, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestStaleSocketFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	_ = unix.Close(bound(t, path, unix.SOCK_STREAM))
	s := open(t, "unix", path, listen.Options{})
	serves(t, s, "unix", path)
}

func TestLiveSocketIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	s := open(t, "unix", path, listen.Options{})
	refused(t, "unix", path, listen.Options{}, "another process listens there; stop it or choose another path")
	acceptFrom(t, s) // that it was asked is a connection too
	serves(t, s, "unix", path)
}

// A listener whose queue is full is alive all the same.
func TestBusySocketIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	fd := bound(t, path, unix.SOCK_STREAM)
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		c, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(c)
		if err := unix.SetNonblock(c, true); err != nil {
			t.Fatal(err)
		}
		if err := unix.Connect(c, &unix.SockaddrUnix{Name: path}); err != nil {
			break
		}
	}
	refused(t, "unix", path, listen.Options{}, "another process listens there")
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

func TestWhatIsInTheWayIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("nowhere", link); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, "folder")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, link, folder} {
		refused(t, "unix", path, listen.Options{}, "there is a file in the way that is not a socket; remove it or choose another path")
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
		t.Errorf("the file is now %q, %v", b, err)
	}
	if to, err := os.Readlink(link); err != nil || to != "nowhere" {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	if _, err := os.Lstat(folder); err != nil {
		t.Error(err)
	}
}

// Close removes the file that Open made, and nobody else's: another process
// may have put its own there meanwhile.
func TestCloseRemovesOnlyItsOwnFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sock")
	first := open(t, "unix", path, listen.Options{})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second := open(t, "unix", path, listen.Options{})
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	serves(t, second, "unix", path)

	// The same for a file that is no socket, and for none at all.
	if err := os.Rename(path, filepath.Join(dir, "elsewhere")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	third := open(t, "unix", path, listen.Options{})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := third.Close(); err != nil {
		t.Errorf("without its file: %v", err)
	}
}

func TestAbstractName(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("Linux alone has abstract sockets")
	}
	t.Chdir(t.TempDir())
	name := "@bulkhead-test-" + strconv.Itoa(os.Getpid())
	s := open(t, "unix", name, listen.Options{})
	serves(t, s, "unix", name)
	if files, err := os.ReadDir("."); err != nil || len(files) > 0 {
		t.Errorf("an abstract name has made files: %v, %v", files, err)
	}
	refused(t, "unix", name, listen.Options{}, "address already in use", "; another process listens there, stop it or choose another path")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, "unix", name, listen.Options{})
}

func TestUnixPathsThatCannotBe(t *testing.T) {
	dir := t.TempDir()
	refused(t, "unix", filepath.Join(dir, strings.Repeat("x", 200)), listen.Options{}, "the path of a socket may have about 100 bytes")
	refused(t, "unix", filepath.Join(dir, "no", "sock"), listen.Options{}, "no such file or directory", "; make the folder")
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, "unix", filepath.Join(plain, "sock"), listen.Options{}, ": not a directory; make the folder")
	if os.Geteuid() != 0 {
		closed := filepath.Join(dir, "closed")
		if err := os.Mkdir(closed, 0o500); err != nil {
			t.Fatal(err)
		}
		refused(t, "unix", filepath.Join(closed, "sock"), listen.Options{}, "permission denied", "; let the user who runs this process write to the folder")
	}
}

// A connection that was queued when the socket closed hears of it.
func TestCloseResetsWhatWaitsOnUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	s := open(t, "unix", path, listen.Options{})
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes", n)
	}
}
