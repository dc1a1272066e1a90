package host

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"bulkhead/host/config"
	"bulkhead/plugins"
)

// startedFor is how long it is remembered that a plugin has started.
const startedFor = 90 * 24 * time.Hour

// started remembers, by empty files in the state folder, which plugins have been loaded
// and have started before: with this program, as this listener's, within these limits.
// What does not work in it costs time and nothing else. Any goroutine may use it.
type started struct {
	dir     string
	program string // which this is
}

func newStarted(state string) started {
	s := started{dir: filepath.Join(state, "started")}
	if path, err := os.Executable(); err == nil {
		if info, err := os.Stat(path); err == nil {
			s.program = info.ModTime().Format(time.RFC3339Nano) + " " + path
		}
	}
	return s
}

// key names what a listener's plugin has to have started as; "" when that cannot be
// told.
func (s started) key(l *config.Listener, t *config.Tenant) string {
	code, err := plugins.ReadFile(l.Plugin)
	if err != nil || s.program == "" {
		return ""
	}
	b, err := json.Marshal([]any{
		s.program, sha256.Sum256(code), l.Name, l.Tenant, l.PluginSHA256, l.Instance, l.Shape, l.Snapshot, l.EventTimeout, l.Config,
		t.Memory, t.Stack, t.Instances, t.Mappings, t.Timers, t.CPU,
	})
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// has reports whether it has, and remembers it for longer.
func (s started) has(key string) bool {
	if key == "" {
		return false
	}
	now := time.Now()
	return os.Chtimes(filepath.Join(s.dir, key), now, now) == nil
}

// add remembers it.
func (s started) add(key string) {
	if key == "" || os.Mkdir(s.dir, 0o700) != nil && !isDir(s.dir) {
		return
	}
	_ = os.WriteFile(filepath.Join(s.dir, key), nil, 0o600)
}

func isDir(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.IsDir()
}

// forget removes what was not asked for in a long time.
func (s started) forget() {
	entries, _ := os.ReadDir(s.dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > startedFor {
			_ = os.Remove(filepath.Join(s.dir, e.Name()))
		}
	}
}
