//go:build !linux

package confine

import (
	"errors"
	"os/user"

	"bulkhead/host/config"
)

type who struct {
	name     string
	uid, gid int
}

func change(cfg *config.Config) (who, bool, error) {
	if cfg.Host.User == "" {
		return who{}, false, nil
	}
	if u, err := user.Current(); err == nil && (u.Username == cfg.Host.User || u.Uid == cfg.Host.User) {
		return who{name: u.Username}, false, nil
	}
	return who{}, false, errors.New("a daemon can change its user on Linux alone; start it as that user, and leave this out")
}

func checkState(string, who) error { return nil }

func become(who) error { panic("no user can be changed here") }

func drop(who) error { panic("no user can be changed here") }
