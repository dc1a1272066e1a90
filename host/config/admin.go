package config

import (
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"bulkhead/host/admin/guard"
)

// Admin is what operators see of the daemon: the table [admin].
type Admin struct {
	// AccessLog is where the access log goes: "off", "stdout", or the absolute path of a file.
	AccessLog string
	// AccessSample is the share of the connections with an orderly end that the access log has: 0
	// to 1. It has all others.
	AccessSample float64
	// AccessInterval is how often the access log has a line of a connection that is open; 0: it has
	// none before the end.
	AccessInterval time.Duration
	// UsageInterval is how often what each tenant has used is written down; 0: it is not.
	UsageInterval time.Duration
	// UsageSize bounds the files with it, in bytes, and UsageKeep is for how long they stay.
	UsageSize int64
	UsageKeep time.Duration
	// View is the group, by name or number, that may read by a socket of its own. "": there is
	// none.
	View string
	// Address is where HTTP over TCP is answered. Its zero value: nowhere.
	Address netip.AddrPort
	// Hosts are what requests there may name as their host, beside Address and, where that is a
	// loopback one, localhost: names and addresses with ports. There is one at least where Address
	// can be reached by other machines.
	Hosts []string
	// Token is the absolute path of the file with the token by which changes may be asked for
	// there. "": nothing can be changed there.
	Token string

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
		show: func(a *Admin) string { return Quote(a.AccessLog) },

		columns: columns{deflt: AccessOff, reload: InPlace},
	},
	numberField("access_sample", 0, 1, func(a *Admin) *float64 { return &a.AccessSample }).is(columns{deflt: 1, reload: InPlace, note: "of the orderly ends"}),
	durationField("access_interval", time.Second, 24*time.Hour, time.Second, "no lines before the end", "10m", func(a *Admin) *time.Duration { return &a.AccessInterval }).is(columns{deflt: "10m", reload: InPlace}),
	durationField("usage_interval", time.Second, 24*time.Hour, time.Second, "no records", "1m", func(a *Admin) *time.Duration { return &a.UsageInterval }).is(columns{deflt: "1m", reload: InPlace}),
	sizeField("usage_size", mib, 1024*gib, "256MiB", func(a *Admin) *int64 { return &a.UsageSize }).is(columns{deflt: "256MiB", reload: InPlace, note: "the oldest files go"}),
	durationField("usage_keep", time.Hour, 87600*time.Hour, time.Second, "", "2160h", func(a *Admin) *time.Duration { return &a.UsageKeep }).is(columns{deflt: "2160h", reload: InPlace}),
	{
		name: "view",
		want: "the name or number of a group",
		read: func(a *Admin, v *value) {
			if s, ok := v.str(); ok {
				if s == "" || !ownerWord(s) {
					v.bad("is no group")
					return
				}
				a.View = s
			}
		},
		show: func(a *Admin) string {
			if a.View == "" {
				return "# view is not given: there is no socket for reading alone"
			}
			return Quote(a.View)
		},

		columns: columns{reload: InPlace},
	},
	{
		name: "address",
		want: `an IP address and a port, like "127.0.0.1:9101"`,
		read: readAdminAddress,
		show: func(a *Admin) string {
			if !a.Address.IsValid() {
				return "# address is not given: nothing is answered over TCP"
			}
			return Quote(a.Address.String())
		},

		columns: columns{reload: InPlace},
	},
	{
		name: "hosts",
		want: `a list of up to 64 names and addresses with ports, like ["metrics.example.com:9101"]`,
		read: func(a *Admin, v *value) {
			list, ok := v.list(64)
			if !ok {
				return
			}
			for i, s := range list {
				h, err := guard.ParseHost(s)
				if err != nil {
					v.bad("has the entry " + quote(s) + ": " + err.Error())
					return
				}
				list[i] = h.String()
			}
			a.Hosts = list
		},
		show: func(a *Admin) string { return tomlList(a.Hosts) },

		columns: columns{reload: InPlace, note: "beside address itself"},
	},
	{
		name: "token",
		want: `the path of a file, like "/etc/bulkhead/token"`,
		read: func(a *Admin, v *value) {
			if s, ok := v.path(); ok {
				a.Token = absolute(s, v.d.dir)
			}
		},
		show: func(a *Admin) string {
			if a.Token == "" {
				return "# token is not given: nothing can be changed over TCP"
			}
			return Quote(a.Token)
		},

		columns: columns{reload: InPlace},
	},
}

func readAdminAddress(a *Admin, v *value) {
	s, ok := v.str()
	if !ok {
		return
	}
	at, err := netip.ParseAddrPort(s)
	if err != nil || at.Addr().Zone() != "" {
		v.bad("is no address with a port")
		return
	}
	a.Address = at
}

// checkAdmin looks at keys of [admin] that have to do with each other.
func (d *decoder) checkAdmin(a *Admin) {
	if at := a.Address; at.IsValid() {
		if !at.Addr().Unmap().IsLoopback() && len(a.Hosts) == 0 {
			d.fail(a.LineOf("address"), "take a loopback address, or name in hosts what they call this machine, with the port", "address = %s can be reached by other machines, and everybody there can read all of it, in the clear", quote(at.String()))
		}
		return
	}
	for _, key := range []string{"hosts", "token"} {
		if line := a.LineOf(key); line > 0 {
			d.warn(line, "give address, too, or leave it out", "%s is for address, which is not given", key)
		}
	}
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
