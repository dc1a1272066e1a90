package config

import (
	"os"
	"strings"

	"bulkhead/internal/confined"
)

// mostTexts bounds the arguments of a program, and its environment, and mostText each of
// their texts, in bytes.
const (
	mostTexts = 256
	mostText  = 64 * kib
)

// The keys that are for programs, shape "stdio".
var (
	argsField = field[Listener]{
		name: "args",
		want: `a list of up to 256 texts, the program's arguments behind its name, like ["-v", "/program.conf"]`,
		read: func(l *Listener, v *value) {
			l.Args = v.texts(func(string) bool { return true })
		},
		show: func(l *Listener) string { return tomlList(l.Args) },
	}.is(columns{when: programs, of: ofService, reload: NewGeneration})

	envField = field[Listener]{
		name: "env",
		want: `a list of up to 256 of NAME=value, like ["TZ=UTC", "LOG=debug"]`,
		read: func(l *Listener, v *value) {
			l.Env = v.texts(func(s string) bool { return strings.IndexByte(s, '=') > 0 })
		},
		show: func(l *Listener) string { return tomlList(l.Env) },
	}.is(columns{when: programs, of: ofService, reload: NewGeneration})

	folderField = field[Listener]{
		name: "folder",
		want: "the path of a folder, which the program sees as / and may read",
		read: readFolder,
		show: func(l *Listener) string {
			if l.Folder == "" {
				return "# folder is not given: the program sees no files"
			}
			return Quote(l.Folder)
		},
	}.is(columns{when: programs, of: ofService, reload: NewGeneration})
)

// texts gives the value as a list of texts that a program can be given.
func (v *value) texts(good func(string) bool) []string {
	list, ok := v.list(mostTexts)
	if !ok {
		return nil
	}
	for i, s := range list {
		switch {
		case strings.ContainsRune(s, 0):
			v.d.fail(v.n.Item(i).Line, "leave it out", "%s[%d] = %s has a NUL byte in it", v.key, i, quote(s))
		case len(s) > mostText:
			v.d.fail(v.n.Item(i).Line, "write it into a file of the program's folder", "%s[%d] has %d bytes, and 64KiB are the most", v.key, i, len(s))
		case !good(s):
			v.bad("has " + quote(s) + " in it")
		default:
			continue
		}
		return nil
	}
	return list
}

// readFolder takes the path of a program's folder. What is in it is read when the listener
// starts.
func readFolder(l *Listener, v *value) {
	s, ok := v.path()
	if !ok {
		return
	}
	path := absolute(s, v.d.dir)
	switch info, err := os.Stat(path); {
	case err != nil:
		v.fault(&fault{"cannot be read (" + clip(path) + ": " + reason(err) + ")", "write the path of a folder, taken from the folder of this file unless it begins with a slash"})
	case !info.IsDir():
		v.bad("is no folder")
	default:
		l.Folder = path
		f, err := os.Open(path)
		if err == nil {
			f.Close()
		} else if mend := confined.Mend(err, path, false); mend != "" {
			v.fault(&fault{"cannot be read (" + clip(path) + ": " + reason(err) + ")", mend})
		}
	}
}
