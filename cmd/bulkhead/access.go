package main

import (
	"bulkhead/host/access"
	"bulkhead/host/config"
)

// setAccess has the access log be as a configuration says. The error is of that.
func setAccess(log *access.Log, cfg *config.Config) error {
	return accessError(cfg, log.Set(cfg.Admin.AccessLog, cfg.Admin.AccessSample))
}

// checkAccess says whether setAccess would fail.
func checkAccess(cfg *config.Config) error {
	return accessError(cfg, access.Check(cfg.Admin.AccessLog))
}

func accessError(cfg *config.Config, err error) error {
	if err == nil {
		return nil
	}
	return config.Errors{cfg.AdminError("access_log", err)}
}

// reopen opens the access log's file again, and says so.
func (r *reloader) reopen() {
	switch is, err := r.access.Reopen(); {
	case err != nil:
		r.log.Error("the access log is not opened again; the file that is open goes on", "signal", "SIGUSR1", "error", err)
	case is:
		r.log.Info("the access log is opened again", "signal", "SIGUSR1")
	default:
		r.log.Info("there is no file to open again: [admin] access_log names none", "signal", "SIGUSR1")
	}
}
