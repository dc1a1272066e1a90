package confine

import (
	"fmt"
	"log/slog"

	"bulkhead/host/config"
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
	Landlock Part `json:"landlock"`
}

// Lines are the report for people, a line each.
func (r Report) Lines() []string {
	return []string{"landlock " + r.Landlock.String()}
}

// Plan is what Enforce would put in force here, for a configuration.
func Plan(cfg *config.Config) Report {
	var r Report
	switch abi, err := landlockABI(); {
	case !cfg.Host.Landlock:
		r.Landlock.Note = "[host] landlock = false"
	case err != nil:
		r.Landlock.Note = err.Error()
	default:
		r.Landlock = Part{true, fmt.Sprintf("version %d; the configuration, and the folders that it names, are all that can be used", abi)}
	}
	return r
}

// Enforce confines the process as a configuration that was loaded from a file says: all its threads, and
// what it starts, for good. It is called once, when the sockets are open. The error has the mend.
func Enforce(cfg *config.Config) (Report, error) {
	r := Plan(cfg)
	if r.Landlock.InForce {
		if err := startLandlock(cfg); err != nil {
			return Report{}, config.Errors{{File: cfg.File, Line: max(cfg.Host.LineOf("landlock"), 1), What: "[host] landlock: " + err.Error(), Mend: "set it to false to go without"}}
		}
	}
	return r, nil
}

// Log writes the report into a log.
func (r Report) Log(log *slog.Logger) {
	log.Info("landlock", "in_force", r.Landlock.InForce, "note", r.Landlock.Note)
}
