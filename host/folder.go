package host

import (
	"fmt"

	"bulkhead/host/config"
	"bulkhead/plugins/wasi"
)

// readFolder reads the folder of a listener's programs, on the tenant's account until
// releaseFolder. Nil: there is none.
func (t *tenant) readFolder(l *config.Listener) (*wasi.Folder, error) {
	if l.Shape != "stdio" || l.Folder == "" {
		return nil, nil
	}
	f, err := wasi.ReadFolder(l.Folder, t.config().Memory)
	if err != nil {
		return nil, fmt.Errorf("folder: %w", err)
	}
	if !t.memory.Reserve(int(f.Size())) {
		return nil, fmt.Errorf("folder: %s has %d bytes, and the tenant's memory (memory) has no room for them; give it more, or put less into the folder", l.Folder, f.Size())
	}
	return f, nil
}

func (t *tenant) releaseFolder(f *wasi.Folder) {
	if f != nil {
		t.memory.Release(int(f.Size()))
	}
}
