package config

import (
	"path/filepath"
	"strings"
)

// Admin is what operators see of the daemon: the table [admin].
type Admin struct {
	// AccessLog is where the access log goes: "off", "stdout", or the absolute path of a file.
	AccessLog string
	// AccessSample is the share of the connections with an orderly end that the access log has: 0
	// to 1. It has all others.
	AccessSample float64

	lines map[string]int
}

// The values of Admin.AccessLog that are no path.
const (
	AccessOff    = "off"
	AccessStdout = "stdout"
)

// DefaultAdmin gives the settings of which a file says nothing.
func DefaultAdmin() Admin {
	var a Admin
	setDefaults(&a, adminFields)
	return a
}

var adminFields = []field[Admin]{
	{
		name: "access_log",
		want: `"off", "stdout", or the path of a file, like "/var/log/bulkhead/access.log"`,
		read: readAccessLog,
		show: func(a *Admin) string { return tomlString(a.AccessLog) },

		columns: columns{deflt: AccessOff, reload: InPlace},
	},
	numberField("access_sample", 0, 1, func(a *Admin) *float64 { return &a.AccessSample }).is(columns{deflt: 1, reload: InPlace, note: "of the orderly ends"}),
}

func readAccessLog(a *Admin, v *value) {
	s, ok := v.str()
	switch {
	case !ok:
	case s == "":
		v.bad("is empty")
	case strings.ContainsRune(s, 0):
		v.bad("has a NUL byte in it")
	case strings.HasSuffix(s, string(filepath.Separator)):
		v.bad("is a folder")
	case s == AccessOff || s == AccessStdout:
		a.AccessLog = s
	default:
		a.AccessLog = absolute(s, v.d.dir)
	}
}

// LineOf is the line that gave a key of [admin], or 0.
func (a *Admin) LineOf(key string) int { return a.lines[key] }

// Changes are the keys of [admin] whose values are not what they were before.
func (a *Admin) Changes(before *Admin) []string { return changes(adminFields, a, before) }
