package confine

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"unsafe"

	"bulkhead/host/config"
	"bulkhead/internal/confined"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// who is a user, as the system knows it.
type who struct {
	name     string
	uid, gid int
	groups   []int
}

// lookUp finds a user by name or number.
func lookUp(name string) (who, error) {
	u, err := user.Lookup(name)
	if err != nil {
		u, err = user.LookupId(name)
	}
	if err != nil {
		return who{}, fmt.Errorf("there is no user %q on this machine; make it, as by useradd --system %s, or name another", name, name)
	}
	w := who{name: u.Username}
	ids, err := u.GroupIds()
	if err != nil {
		return who{}, fmt.Errorf("finding the groups of the user %q: %w", name, err)
	}
	if w.uid, err = strconv.Atoi(u.Uid); err == nil {
		w.gid, err = strconv.Atoi(u.Gid)
	}
	for _, id := range ids {
		n, err2 := strconv.Atoi(id)
		err = errors.Join(err, err2)
		w.groups = append(w.groups, n)
	}
	switch {
	case err != nil:
		return who{}, fmt.Errorf("the numbers of the user %q: %w", name, err)
	case w.uid == 0:
		return who{}, fmt.Errorf("%q is root; name a user who has no privileges", name)
	}
	return w, nil
}

// change says whom the process has to become: needed is false where it is that user already, or
// none is named. The error has the mend.
func change(cfg *config.Config) (w who, needed bool, err error) {
	name := cfg.Host.User
	if name == "" {
		return who{}, false, nil
	}
	if w, err = lookUp(name); err != nil {
		return who{}, false, err
	}
	real, effective, saved := unix.Getresuid()
	switch {
	case real == w.uid && effective == w.uid && saved == w.uid:
		return w, false, nil
	case effective != 0:
		return w, false, fmt.Errorf("this process is of user %d, and root's alone can become %q; start it as root, or as that user", effective, name)
	}
	return w, true, nil
}

// checkState says what of the state folder the user could not use.
func checkState(state string, w who) error {
	mend := fmt.Sprintf("; say chown -R %s %s", w.name, state)
	look := func(path string) error {
		var st unix.Stat_t
		switch err := unix.Lstat(path, &st); {
		case errors.Is(err, unix.ENOENT):
			return nil
		case err != nil:
			return fmt.Errorf("looking at %s of [host] state: %w", path, err)
		case int(st.Uid) != w.uid:
			return fmt.Errorf("%s, of [host] state, belongs to user %d, and %q could not use it%s", path, st.Uid, w.name, mend)
		}
		return nil
	}
	if err := look(state); err != nil {
		return err
	}
	for _, dir := range []string{state, filepath.Join(state, "modules")} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("looking at [host] state: %w", err)
		}
		for _, e := range entries {
			if err := look(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// become has all threads be the user's, so that what they make is. They keep root's capabilities
// until drop.
func become(w who) error {
	if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("keeping capabilities for the time of opening sockets: %w", errno)
	}
	const mend = "leave the process CAP_SETUID and CAP_SETGID until then, or start it as that user"
	if err := syscall.Setgroups(w.groups); err != nil {
		return fmt.Errorf("taking the groups of %q: %w; %s", w.name, err, mend)
	}
	if err := syscall.Setresgid(w.gid, w.gid, w.gid); err != nil {
		return fmt.Errorf("taking the group %d of %q: %w; %s", w.gid, w.name, err, mend)
	}
	if err := syscall.Setresuid(w.uid, w.uid, w.uid); err != nil {
		return fmt.Errorf("becoming %q: %w; %s", w.name, err, mend)
	}
	var sets [2]unix.CapUserData
	if err := capget(&sets); err != nil {
		return err
	}
	for i := range sets {
		sets[i].Effective, sets[i].Inheritable = sets[i].Permitted, 0
	}
	return capset(sets)
}

// capabilities is what capset gives to the kernel. It is here, where it does not move.
var capabilities struct {
	header unix.CapUserHeader
	sets   [2]unix.CapUserData
}

func capget(sets *[2]unix.CapUserData) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("looking at the capabilities: %w", err)
	}
	return nil
}

// capset is for all threads. One goroutine at a time may call it.
func capset(sets [2]unix.CapUserData) error {
	capabilities.header, capabilities.sets = unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, sets
	if _, _, errno := psx.Syscall3(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&capabilities.header)), uintptr(unsafe.Pointer(&capabilities.sets)), 0); errno != 0 {
		return fmt.Errorf("setting the capabilities: %w", errno)
	}
	return nil
}

// drop gives up all capabilities, and makes sure that nothing can be taken back.
func drop(w who) error {
	if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("setting no_new_privs: %w", errno)
	}
	// A kernel without ambient capabilities has none to clear.
	_, _, _ = psx.Syscall6(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0, 0)
	if err := capset([2]unix.CapUserData{}); err != nil {
		return err
	}
	// Who changes its user cannot read its own /proc any more, which says what guests' copies have
	// written to.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("making the process its user's own: %w", err)
	}
	var sets [2]unix.CapUserData
	if err := capget(&sets); err != nil {
		return err
	}
	for _, s := range sets {
		if s.Effective|s.Permitted|s.Inheritable != 0 {
			return errors.New("the process keeps capabilities")
		}
	}
	u, eu, su := unix.Getresuid()
	g, eg, sg := unix.Getresgid()
	if u != w.uid || eu != w.uid || su != w.uid || g != w.gid || eg != w.gid || sg != w.gid {
		return fmt.Errorf("the process is of users %d, %d, %d and groups %d, %d, %d, and not of %d and %d alone", u, eu, su, g, eg, sg, w.uid, w.gid)
	}
	if syscall.Setuid(0) == nil || syscall.Setgid(0) == nil {
		return errors.New("the process can become root's again")
	}
	confined.SayDropped()
	return nil
}
