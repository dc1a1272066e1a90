package compiler

import (
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The bits of Landlock's rights that there are since a version of it, the newest first.
var (
	fileRights = []rightsSince{{9, 17}, {5, 16}, {3, 15}, {2, 14}, {1, 13}}
	netRights  = []rightsSince{{10, 4}, {4, 2}}
	scopes     = []rightsSince{{6, 2}}
)

type rightsSince struct{ version, bits int }

func rightsOf(version int, all []rightsSince) uint64 {
	for _, r := range all {
		if version >= r.version {
			return 1<<r.bits - 1
		}
	}
	return 0
}

// folderRights are what a child that leaves files does in its working directory.
const folderRights = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR |
	unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE |
	unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
	unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_REFER

const (
	// tsyncVersion is the version that restricts all threads by one call.
	tsyncVersion = 8
	// Without this erratum mended, threads that are restricted one by one cannot signal each other,
	// and Go's do.
	signalsErratum = 1 << 1
)

// restrict has Landlock take from this process, for good, the file system, sockets of TCP, and
// signals to processes outside and their abstract sockets, as far as the kernel has that. With
// keepFolder it keeps the files of its working directory. Where there is no Landlock restrict does
// nothing. It is called when no_new_privs is set.
func restrict(keepFolder bool) error {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return nil // none in the kernel, or it is turned off, or forbidden
	}
	version := int(v)
	attr := unix.LandlockRulesetAttr{
		Handled_access_fs:  rightsOf(version, fileRights),
		Handled_access_net: rightsOf(version, netRights),
		Scoped:             rightsOf(version, scopes),
	}
	errata, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_ERRATA)
	if errno != 0 || errata&signalsErratum == 0 {
		attr.Scoped &^= unix.LANDLOCK_SCOPE_SIGNAL
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return fmt.Errorf("making rules for Landlock: %w", withMend(errno, "landlock_create_ruleset"))
	}
	defer unix.Close(int(fd))
	if keepFolder {
		if err := allowFolder(fd, folderRights&attr.Handled_access_fs); err != nil {
			return fmt.Errorf("leaving its directory to it by Landlock: %w", err)
		}
	}
	_, _, errno = syscall.AllThreadsSyscall6(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0, 0, 0, 0)
	if errno == syscall.ENOTSUP { // with C in the program
		var flags uintptr
		if version >= tsyncVersion {
			flags = unix.LANDLOCK_RESTRICT_SELF_TSYNC
		}
		_, _, errno = syscall.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, flags, 0)
	}
	if errno != 0 {
		return fmt.Errorf("putting Landlock in force: %w", withMend(errno, "landlock_restrict_self"))
	}
	return nil
}

// allowFolder adds the rule that leaves rights in the working directory.
func allowFolder(rules uintptr, rights uint64) error {
	dir, err := unix.Open(".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: rights, Parent_fd: int32(dir)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, rules, unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	runtime.KeepAlive(&rule)
	if err := unix.Close(dir); err != nil || errno == 0 {
		return err
	}
	return withMend(errno, "landlock_add_rule")
}
