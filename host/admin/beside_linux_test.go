package admin

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"bulkhead/host/config"

	"golang.org/x/sys/unix"
)

// as runs f as another user, of one group. Its thread is never another goroutine's again.
func as(t *testing.T, uid, gid int, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and not unlocked: the thread ends with the goroutine
		done <- func() error {
			if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); e != 0 {
				return fmt.Errorf("setgroups: %w", e)
			}
			if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)); e != 0 {
				return fmt.Errorf("setresgid: %w", e)
			}
			if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); e != 0 {
				return fmt.Errorf("setresuid: %w", e)
			}
			f()
			return nil
		}()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// Another user of the machine gets nothing from the state folder: neither socket, nor file. One of
// the view's group reads, and no more.
func TestAnotherUserGetsNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		d, _ := open(t, t.TempDir()) // only root can be another user
		for path, mode := range map[string]os.FileMode{socketPath(d.state): 0o600, d.lock.Name(): 0o600} {
			if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != mode {
				t.Errorf("%s is %v, %v", path, info, err)
			}
		}
		return
	}
	const stranger, viewer, group = 65534, 65533, 65532
	// What is above the state folder is open, so that it alone is what keeps others out.
	root := t.TempDir()
	for dir := root; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, mode := range []os.FileMode{0o700, 0o755} {
		state := filepath.Join(root, fmt.Sprintf("%o", mode))
		if err := os.Mkdir(state, mode); err != nil {
			t.Fatal(err)
		}
		d, _ := open(t, state)
		d.Serve(fake{})
		if err := d.Set(adminOf(func(a *config.Admin) { a.View = fmt.Sprint(group) })); err != nil {
			t.Fatal(err)
		}
		try := func(name string) error {
			c, err := net.Dial("unix", filepath.Join(state, name))
			if err == nil {
				c.Close()
			}
			return err
		}
		read := func(name string) error {
			f, err := os.Open(filepath.Join(state, name))
			if err == nil {
				f.Close()
			}
			return err
		}
		as(t, stranger, stranger, func() {
			for _, err := range []error{try(SocketName), try(ViewName), read(lockName)} {
				if !errors.Is(err, os.ErrPermission) {
					t.Errorf("in a folder of mode %04o a stranger gets %v", mode, err)
				}
			}
		})
		as(t, viewer, group, func() {
			if err := try(SocketName); !errors.Is(err, os.ErrPermission) {
				t.Errorf("in a folder of mode %04o one of the group gets %v", mode, err)
			}
			if err := read(lockName); !errors.Is(err, os.ErrPermission) {
				t.Errorf("in a folder of mode %04o one of the group gets %v", mode, err)
			}
			dial := func() (net.Conn, error) { return net.Dial("unix", filepath.Join(state, ViewName)) }
			if got, body := answerTo(t, dial, "GET /v1/status HTTP/1.1\r\nHost: bulkhead\r\n\r\n"); got != 200 {
				t.Errorf("one of the group reads %d %s", got, body)
			}
			if got, _ := answerTo(t, dial, "POST /v1/kill HTTP/1.1\r\nHost: bulkhead\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"); got != 403 {
				t.Errorf("one of the group changes something: %d", got)
			}
			// The commands that read find their way.
			if c, err := NewClient(state, "one").dial(reads(t.Context())); err != nil {
				t.Errorf("a command of one of the group gets %v", err)
			} else {
				c.Close()
			}
			if c, err := NewClient(state, "one").dial(t.Context()); !errors.Is(err, os.ErrPermission) {
				t.Errorf("a command of one of the group that changes something gets %v, %v", c, err)
			}
		})
		d.Close()
	}
}
