package csa

import (
	"log/slog"
	"regexp"
	"testing"

	"bulkhead/abi"
)

// Each cause has a line in the table, and no other has its name.
func TestCauses(t *testing.T) {
	name := regexp.MustCompile(`^[a-z][a-z_]*$`)
	seen := make(map[string]bool)
	for c := range Causes {
		info := c.Info()
		if !name.MatchString(info.Name) || seen[info.Name] || info.Words == "" || !info.Code.Valid() && info.Code != abi.OK {
			t.Errorf("cause %d is %+v", c, info)
		}
		seen[info.Name] = true
		if info.Level > slog.LevelWarn || info.Level < slog.LevelDebug {
			t.Errorf("%s is logged at %v", info.Name, info.Level)
		}
		if info.Key != "" && info.Level < slog.LevelInfo && c != PeerSilent {
			t.Errorf("%s is a limit's (%s), and nobody sees it", info.Name, info.Key)
		}
		switch who := c.Who(); {
		case who == "limit" && info.Key == "" && c != HandlesFull:
			t.Errorf("a limit has ended it by %s, which has no key", info.Name)
		case who == "handler" && c > Unknown && c < BadData && c != HandlerEnded && c != HandlerRefused:
			t.Errorf("the handler has ended it by %s", info.Name)
		}
		if r := c.Reason(); r != (Reason{info.Code, c, info.Words}) {
			t.Errorf("the reason of %s is %+v", info.Name, r)
		}
	}
	if Causes.Info().Name != "unknown" {
		t.Error("what is no cause has another line than the unknown")
	}
}
