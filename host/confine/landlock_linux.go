package confine

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"bulkhead/host/config"
	"bulkhead/internal/confined"
	"bulkhead/internal/forbidden"

	"github.com/landlock-lsm/go-landlock/landlock"
	llsys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// running is the program of this process.
const running = "/proc/self/exe"

// systemRules are what the process needs whatever its configuration says: what it reads of the
// system's state, and what finding addresses takes. /etc as a whole, since the files of the
// resolver are replaced there.
var systemRules = []rule{
	{"/proc/self", read}, {"/proc/meminfo", read}, {"/proc/sys/vm/max_map_count", read},
	{"/sys/fs/cgroup", read}, {"/sys/kernel/mm/transparent_hugepage", read},
	{"/etc", read}, {"/usr/share/zoneinfo", read},
	{"/dev/null", readWrite}, {"/dev/urandom", read},
}

// rights are what each use is to the kernel. Of a file only those of files are asked for.
var rights = [...]landlock.AccessFSSet{
	read:        llsys.AccessFSReadFile | llsys.AccessFSReadDir,
	execute:     llsys.AccessFSReadFile | llsys.AccessFSExecute,
	keepState:   stateRights,
	appendLog:   llsys.AccessFSWriteFile | llsys.AccessFSMakeReg,
	holdSockets: llsys.AccessFSMakeSock | llsys.AccessFSRemoveFile,
	readWrite:   llsys.AccessFSReadFile | llsys.AccessFSWriteFile,
}

const (
	stateRights = llsys.AccessFSReadFile | llsys.AccessFSReadDir | llsys.AccessFSWriteFile | llsys.AccessFSTruncate | llsys.AccessFSRefer |
		llsys.AccessFSRemoveDir | llsys.AccessFSRemoveFile | llsys.AccessFSMakeDir | llsys.AccessFSMakeReg | llsys.AccessFSMakeSock
	fileRights = llsys.AccessFSReadFile | llsys.AccessFSWriteFile | llsys.AccessFSTruncate | llsys.AccessFSExecute
	// handled are the rights that are taken away where no rule gives them: all that change or read
	// the file system. Connecting to unix sockets is judged by connect, and is not among them.
	handled = stateRights | llsys.AccessFSExecute | llsys.AccessFSMakeChar | llsys.AccessFSMakeBlock | llsys.AccessFSMakeFifo |
		llsys.AccessFSMakeSym | llsys.AccessFSIoctlDev
	signals = 1 << 1 // to processes outside, of LANDLOCK_SCOPE_*
)

// leastABI is what renaming between folders of the state folder takes.
const leastABI = 2

// landlockABI is the kernel's version of Landlock. The error says why there is none.
func landlockABI() (int, error) {
	abi, err := llsys.LandlockGetABIVersion()
	mend := forbidden.Mend(err, "landlock_create_ruleset")
	switch {
	case mend != "":
		return 0, errors.New(mend)
	case errors.Is(err, unix.EOPNOTSUPP):
		return 0, errors.New("the kernel has Landlock, and it was turned off at boot; add landlock to lsm= of its command line")
	case err != nil:
		return 0, fmt.Errorf("the kernel has no Landlock, which came with Linux 5.13 (%w)", err)
	case abi < leastABI:
		return 0, fmt.Errorf("the kernel's Landlock is of version %d; version %d came with Linux 5.19", abi, leastABI)
	}
	return abi, nil
}

// pins hold on to what rules of /proc name. The kernel makes other files of the same names there
// when it is short of memory, for which the rules would not hold.
var pins []int

// startLandlock has the rules be in force for all threads, and for what they start.
func startLandlock(cfg *config.Config) error {
	all := rules(cfg)
	for _, path := range authorities() {
		all = append(all, rule{path, read})
	}
	all = append(all, rule{running, execute})
	all = append(all, interpreter()...)
	var kernel []landlock.Rule
	for _, r := range all {
		info, err := os.Stat(r.path)
		if err != nil {
			continue
		}
		set := rights[r.use]
		if !info.IsDir() {
			set &= fileRights
		}
		kernel = append(kernel, landlock.PathAccess(set, r.path).IgnoreIfMissing())
		if strings.HasPrefix(r.path, "/proc/") {
			if fd, err := unix.Open(r.path, unix.O_PATH|unix.O_CLOEXEC, 0); err == nil {
				pins = append(pins, fd)
			}
		}
	}
	// What the kernel does not know of these is not asked for. The authors of the library have it
	// end well without any, which landlockABI has excluded.
	c := landlock.Config{HandledAccessFS: handled, Scoped: signals}.BestEffort()
	if err := c.Restrict(kernel...); err != nil {
		return fmt.Errorf("putting Landlock in force: %w", err)
	}
	confined.SayLandlock()
	return nil
}

// interpreter is what executing the program takes besides, where it is linked dynamically.
func interpreter() []rule {
	f, err := elf.Open(running)
	if err != nil {
		return nil
	}
	defer f.Close()
	at := slices.IndexFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
	if at < 0 {
		return nil
	}
	path := make([]byte, f.Progs[at].Filesz)
	if _, err := f.Progs[at].ReadAt(path, 0); err != nil {
		return nil
	}
	return []rule{
		{strings.TrimRight(string(path), "\x00"), execute},
		{"/lib", read}, {"/lib64", read}, {"/usr/lib", read}, {"/usr/lib64", read}, {"/usr/local/lib", read},
	}
}
