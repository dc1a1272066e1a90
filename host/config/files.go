package config

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"strings"

	"bulkhead/internal/confined"
)

// readState takes the path of the state folder.
func readState(h *Host, v *value) {
	s, ok := v.path()
	if !ok {
		return
	}
	path := absolute(s, v.d.dir)
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		v.bad("is a file")
		return
	}
	h.State = path
}

// readPlugin takes the path of a plugin and sees that it can be read.
func readPlugin(l *Listener, v *value) {
	s, ok := v.path()
	if !ok {
		return
	}
	l.Plugin = absolute(s, v.d.dir)
	info, problem := readable(l.Plugin, s)
	switch {
	case problem == nil:
		v.d.plugins++
	case v.d.absence != absentWrong:
		v.d.absent = append(v.d.absent, v.error(problem))
		return
	default:
		v.fault(problem)
		return
	}
	if perm := info.Mode().Perm(); perm&0o022 != 0 {
		who := "its group"
		if perm&0o002 != 0 {
			who = "every user of the machine"
		}
		v.d.warn(v.n.Line, "take that away with chmod go-w, or pin the content with plugin_sha256", "the plugin %s can be changed by %s", quote(l.Plugin), who)
	}
}

// readable looks at the file of a plugin, which the configuration calls written.
func readable(path, written string) (os.FileInfo, *fault) {
	const kind = "write the path of a .wasm, .js, .ts, .py or .lua file"
	info, err := os.Stat(path)
	if err != nil {
		mend := kind + ", taken from the folder of this file unless it begins with a slash"
		if strings.HasPrefix(written, "~") || strings.Contains(written, "$") {
			mend = "write the path in full: ~ and $NAME stand for themselves here"
		}
		return nil, &fault{"cannot be read (" + clip(path) + ": " + reason(err) + ")", mend}
	}
	switch {
	case info.IsDir():
		return nil, &fault{"is a folder", kind}
	case !info.Mode().IsRegular():
		// A pipe or a device could keep the reader waiting for ever.
		return nil, &fault{"is not a regular file", kind}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, &fault{"cannot be read (" + clip(path) + ": " + reason(err) + ")", cmp.Or(confined.Mend(err, path, false), "let the user who runs the host read the file")}
	}
	f.Close()
	return info, nil
}

// path gives the value as text that can be a path.
func (v *value) path() (string, bool) {
	s, ok := v.str()
	switch {
	case !ok:
		return "", false
	case s == "":
		v.bad("is empty")
		return "", false
	case strings.ContainsRune(s, 0):
		v.bad("has a NUL byte in it")
		return "", false
	}
	return s, true
}

// reason is what the system said, without the path, which the caller gives in
// its own way.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return err.Error()
}
