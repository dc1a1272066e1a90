package machine

import (
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// FindMemory is how much memory this process may have: the machine's, or what the least of its
// cgroup and those above it allows (version 1 or 2) where that is less. ok is false when the
// system does not tell.
func FindMemory() (m Memory, ok bool) { return findMemory(os.DirFS("/")) }

// findMemory reads a file system that has /proc and the cgroups.
func findMemory(root fs.FS) (m Memory, ok bool) {
	if total, found := memTotal(root); found {
		m, ok = Memory{total, "MemTotal"}, true
	}
	if most, file, found := leastOfCgroups(root, "memory", "memory.max", "memory.limit_in_bytes"); found && (!ok || most < m.Bytes) {
		m, ok = Memory{most, "/" + file}, true
	}
	return m, ok
}

// memTotal is the machine's memory.
func memTotal(root fs.FS) (int64, bool) {
	text, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, "MemTotal:"); found {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kib << 10, err == nil && kib > 0 && kib < 1<<50
		}
	}
	return 0, false
}

// hierarchy is where a mounted tree of cgroups has this process's.
type hierarchy struct {
	mount  string // without the leading slash, as within
	within string // the process's cgroup below mount
	file   string // of a cgroup, that has its limit
}

// leastOfCgroups is the least that this process's cgroup and those above it allow of what a
// controller limits, and the file that says so. file2 and file1 are the limit's in version 2 and 1.
func leastOfCgroups(root fs.FS, controller, file2, file1 string) (least int64, where string, ok bool) {
	for _, h := range hierarchies(root, controller, file2, file1) {
		for dir := path.Join(h.mount, h.within); ; dir = path.Dir(dir) {
			file := path.Join(dir, h.file)
			if most, found := number(root, file); found && (!ok || most < least) {
				least, where, ok = most, file, true
			}
			if dir == h.mount || dir == "." || dir == "/" {
				break
			}
		}
	}
	return least, where, ok
}

// hierarchies are those that have a controller. A cgroup that is not below what is mounted, since
// it is of a container that sees only its own, is taken for the mounted one.
func hierarchies(root fs.FS, controller, file2, file1 string) []hierarchy {
	mounts, err := fs.ReadFile(root, "proc/self/mountinfo")
	if err != nil {
		return nil
	}
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return nil
	}
	var v1, v2 string // of this process
	for line := range strings.Lines(string(groups)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(parts) < 3:
		case parts[0] == "0" && parts[1] == "":
			v2 = parts[2]
		case slices.Contains(strings.Split(parts[1], ","), controller):
			v1 = parts[2]
		}
	}
	var all []hierarchy
	for line := range strings.Lines(string(mounts)) {
		// ID PARENT DEVICE ROOT MOUNT OPTIONS [TAGS] - TYPE SOURCE OPTIONS
		before, after, _ := strings.Cut(strings.TrimSpace(line), " - ")
		mount, kind := strings.Fields(before), strings.Fields(after)
		if len(mount) < 5 || len(kind) < 3 {
			continue
		}
		h := hierarchy{mount: clean(unescape(mount[4]))}
		group := v2
		switch {
		case kind[0] == "cgroup2":
			h.file = file2
		case kind[0] == "cgroup" && slices.Contains(strings.Split(kind[2], ","), controller):
			group, h.file = v1, file1
		default:
			continue
		}
		if below, ok := strings.CutPrefix(clean(group)+"/", clean(unescape(mount[3]))+"/"); ok {
			h.within = clean(below)
		} else if clean(unescape(mount[3])) == "." {
			h.within = clean(group)
		}
		if strings.HasPrefix(h.within, "..") {
			h.within = "" // above what a cgroup namespace shows
		}
		all = append(all, h)
	}
	return all
}

// clean is a path without the leading slash, as io/fs has it; "." is the root.
func clean(p string) string { return path.Clean(strings.TrimLeft(p, "/")) }

// unescape undoes what mountinfo writes for characters that would end a field.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace

// number reads a file that has one number. "max" is none.
func number(root fs.FS, file string) (int64, bool) {
	b, err := fs.ReadFile(root, file)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil && n > 0
}
