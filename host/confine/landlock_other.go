//go:build !linux

package confine

import (
	"errors"

	"bulkhead/host/config"
)

var systemRules []rule

func landlockABI() (int, error) { return 0, errors.New("this system has no Landlock; Linux has") }

func startLandlock(*config.Config) error { panic("there is no Landlock here") }
