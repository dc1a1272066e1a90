package confine

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"bulkhead/host/config"

	"golang.org/x/sys/unix"
)

// Part is one of the things that confine the process.
type Part struct {
	InForce bool `json:"in_force"`
	// Note says what is in force, or why it is not.
	Note string `json:"note"`
}

// String is for people.
func (p Part) String() string {
	if p.InForce {
		return "in force: " + p.Note
	}
	return "not in force: " + p.Note
}

// Report is what confines a process, by key of [host].
type Report struct {
	User     Part `json:"user"`
	Landlock Part `json:"landlock"`
	Seccomp  Part `json:"seccomp"`

	unreadable []string // files that [host] user cannot read again
}

// Lines are the report for people, a line each.
func (r Report) Lines() []string {
	return []string{"user " + r.User.String(), "landlock " + r.Landlock.String(), "seccomp " + r.Seccomp.String()}
}

// blame has a key of [host] be to blame for an error; nil: there is none.
func blame(cfg *config.Config, key string, err error) error {
	if err == nil {
		return nil
	}
	return config.Errors{cfg.HostError(key, err)}
}

// Begin has the process be [host] user's, for all that it makes from now on, and keeps the
// privileges that opening sockets may take. It is called once, by a process that has made nothing
// yet, before Enforce. The error has the mend.
func Begin(cfg *config.Config) error {
	w, needed, err := change(cfg)
	if err == nil && needed {
		if err = checkState(cfg.Host.State, w); err == nil {
			err = become(w)
		}
		changed = &w
	}
	return blame(cfg, "user", err)
}

// changed is whom Begin has made the process be; nil: nothing was needed.
var changed *who

// Plan is what Enforce would put in force here, for a configuration.
func Plan(cfg *config.Config) Report {
	var r Report
	switch w, needed, err := change(cfg); {
	case changed != nil:
		r.User = changed.part()
	case err != nil:
		r.User.Note = err.Error()
	case w.name == "":
		r.User.Note = fmt.Sprintf("[host] user is not given, and the process stays user %d's", os.Geteuid())
	case needed:
		r.User = w.part()
	default:
		r.User.Note = "the process is " + w.name + "'s from its start, and keeps what it was given"
	}
	switch abi, err := landlockABI(); {
	case !cfg.Host.Landlock:
		r.Landlock.Note = "[host] landlock = false"
	case err != nil:
		r.Landlock.Note = err.Error()
	default:
		r.Landlock = Part{true, fmt.Sprintf("version %d; the configuration, and the folders that it names, are all that can be used", abi)}
	}
	switch err := canSeccomp(); {
	case !cfg.Host.Seccomp:
		r.Seccomp.Note = "[host] seccomp = false"
	case err != nil:
		r.Seccomp.Note = err.Error()
	default:
		r.Seccomp = Part{true, "system calls that the daemon has no use for are refused"}
	}
	return r
}

// Enforce confines the process as a configuration that was loaded from a file says: all its
// threads, and what it starts, for good. It is called once, when the sockets are open. The error
// has the mend.
func Enforce(cfg *config.Config) (Report, error) {
	r := Plan(cfg)
	if changed != nil {
		if err := drop(*changed); err != nil {
			return Report{}, blame(cfg, "user", err)
		}
		r.unreadable = unreadable(cfg)
	}
	if r.Landlock.InForce {
		if err := startLandlock(cfg); err != nil {
			return Report{}, blame(cfg, "landlock", fmt.Errorf("%w; set it to false to go without", err))
		}
	}
	if cfg.Host.Seccomp {
		err := canSeccomp()
		if err == nil {
			err = startSeccomp()
		}
		if err != nil {
			return Report{}, blame(cfg, "seccomp", fmt.Errorf("%w; set it to false to go without", err))
		}
	}
	return r, nil
}

// Log writes the report into a log.
func (r Report) Log(log *slog.Logger) {
	log.Info("user", "in_force", r.User.InForce, "note", r.User.Note)
	for _, path := range r.unreadable {
		log.Warn("[host] user cannot read a file of the configuration; when it changes, a reload fails, and a renewed certificate is not served; let the user read it", "file", path)
	}
	log.Info("landlock", "in_force", r.Landlock.InForce, "note", r.Landlock.Note)
	log.Info("seccomp", "in_force", r.Seccomp.InForce, "note", r.Seccomp.Note)
}

// part is what is in force when the process is the user's.
func (w who) part() Part {
	return Part{true, fmt.Sprintf("%s (%d), of group %d, without privileges", w.name, w.uid, w.gid)}
}

// unreadable are the configuration's file, certificates and keys that the process cannot read as
// the user that it is now.
func unreadable(cfg *config.Config) []string {
	var all []string
	look := func(paths ...string) {
		for _, path := range paths {
			if path != "" && unix.Access(path, unix.R_OK) != nil && !slices.Contains(all, path) {
				all = append(all, path)
			}
		}
	}
	if path, err := filepath.Abs(cfg.File); err == nil {
		look(path)
	}
	for i := range cfg.Listeners {
		look(filesOf(cfg.Listeners[i].TLS)...)
		for k := range cfg.Listeners[i].Routes {
			look(filesOf(cfg.Listeners[i].Routes[k].Listener.TLS)...)
		}
	}
	return all
}
