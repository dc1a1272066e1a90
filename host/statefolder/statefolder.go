// Package statefolder makes the folder of [host] state, and makes sure that it is in no hands but
// ours: what lies there is executed.
package statefolder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"bulkhead/host/config"
	"bulkhead/internal/privatefile"
	"bulkhead/plugins"
	"bulkhead/plugins/codestore"
)

// Open makes the folder of [host] state and opens the store of compiled
// code in it. The error is of that key, whoever needs the folder.
func Open(cfg *config.Config) (*codestore.Store, error) {
	store, err := openStore(cfg.Host.State)
	if err != nil {
		return nil, Blame(cfg, err)
	}
	return store, nil
}

// Make makes the folder of [host] state, if need be, and makes sure that nobody else can
// write to it. The error is a config.Errors.
func Make(cfg *config.Config) error {
	if err := makeState(cfg.Host.State); err != nil {
		return Blame(cfg, WithMend(err))
	}
	return nil
}

// Blame has a configuration's [host] state be to blame for an error.
func Blame(cfg *config.Config, err error) error {
	return config.Errors{cfg.HostError("state", err)}
}

func openStore(path string) (*codestore.Store, error) {
	if path == "" {
		return nil, errors.New("it names no folder; begin with config.DefaultHost")
	}
	if err := makeState(path); err != nil {
		return nil, WithMend(err)
	}
	store, err := plugins.OpenCode(filepath.Join(path, "modules"))
	return store, WithMend(err)
}

// WithMend says what to do about what the system says.
func WithMend(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; this process is of user %d: make the folder as root and say chown %d, or name another one", err, os.Geteuid(), os.Geteuid())
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w; make room there, or name a folder on another disk", err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w; name a folder that can be written", err)
	}
	return err
}

// makeState makes the state folder, or makes sure that nobody else can write to
// it. Who may could put a folder of his own in the place of the compiled code,
// which is executed.
func makeState(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("making the folder: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("looking at the folder: %w", err)
	}
	switch {
	case !privatefile.OwnedByUs(info):
		return fmt.Errorf("the folder %s belongs to another user, and what is compiled there is executed; say chown %d %s, or name another one", path, os.Geteuid(), path)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("the folder %s can be written by others (mode %04o), and what is compiled there is executed; say chmod go-w %s", path, info.Mode().Perm(), path)
	}
	return nil
}
