package tenant

import (
	"fmt"

	"bulkhead/host/config"
	"bulkhead/plugins/wasi"
)

// ReadFolder reads the folder of a listener's programs. It is on the tenant's memory until
// ReleaseFolder. Nil: there is none. The error names the key, folder.
func (t *Tenant) ReadFolder(l *config.Listener) (*wasi.Folder, error) {
	if l.Shape != "stdio" || l.Folder == "" {
		return nil, nil
	}
	f, err := wasi.ReadFolder(l.Folder, t.Config().Memory)
	if err != nil {
		return nil, fmt.Errorf("folder: %w", err)
	}
	if !t.memory.Reserve(int(f.Size())) {
		return nil, fmt.Errorf("folder: %s has %d bytes, and the tenant's memory (memory) has no room for them; give it more, or put less into the folder", l.Folder, f.Size())
	}
	return f, nil
}

// ReleaseFolder gives a folder's memory back. Nil is no folder.
func (t *Tenant) ReleaseFolder(f *wasi.Folder) {
	if f != nil {
		t.memory.Release(int(f.Size()))
	}
}
