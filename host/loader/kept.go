package loader

import (
	"crypto/sha256"
	"math"
	"sync/atomic"

	"bulkhead/host/config"
	"bulkhead/host/statefolder"
	"bulkhead/plugins/codestore"
)

// keptModules is what a loader knows of the modules that the state folder keeps a copy of. The
// first three are under the loader's lock.
type keptModules struct {
	most    int64 // [host] module_cache
	trimmed bool  // they were looked over,
	added   int64 // and so many bytes have come since
	// bytes are in the state folder, and removed is how many modules had to go.
	bytes, removed atomic.Int64
}

// keep keeps a plugin in the state folder, where it is to go back to. That it cannot is no reason
// not to serve.
func (p *Loader) keep(l *config.Listener, sum [sha256.Size]byte, code []byte) {
	added, err := p.store.KeepModule(sum, code)
	if err == nil && p.trimNow(added, len(code)) {
		err = p.trimModules(sum)
	}
	if err != nil {
		p.o.Log.Warn("a plugin is not kept in the state folder, so it cannot be gone back to when its file has changed",
			"listener", l.Name, "tenant", l.Tenant, "error", statefolder.WithMend(err))
	}
}

// BoundModules has the state folder keep so many bytes of modules from now on, beside those that
// are used. That it cannot is no reason not to serve.
func (p *Loader) BoundModules(most int64) {
	p.mu.Lock()
	same := p.kept.most == most
	p.kept.most = most
	p.mu.Unlock()
	if p.store == nil || same {
		return
	}
	if err := p.trimModules(codestore.Sum{}); err != nil {
		p.o.Log.Warn("copies of modules are kept beyond [host] module_cache", "error", statefolder.WithMend(err))
	}
}

// trimModules removes modules that nobody uses, and that are beyond module_cache. One of them is
// about to be used.
func (p *Loader) trimModules(soon codestore.Sum) error {
	p.mu.Lock()
	most := p.kept.most
	p.mu.Unlock()
	if most <= 0 {
		most = math.MaxInt64
	}
	left, removed, err := p.store.TrimModules(most, func(sum codestore.Sum) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for key := range p.modules {
			if key.sum == sum {
				return true
			}
		}
		return sum == soon || p.wanted[sum]
	})
	if err == nil {
		p.kept.bytes.Store(left)
		p.kept.removed.Add(int64(removed))
	}
	return err
}

// trimNow reports whether to look what of the kept modules can go: at first, and when enough have
// come.
func (p *Loader) trimNow(added bool, size int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := &p.kept
	if added {
		k.added += int64(size)
		k.bytes.Add(int64(size))
	}
	if k.trimmed && (k.most <= 0 || k.added <= k.most/8) {
		return false
	}
	k.trimmed, k.added = true, 0
	return true
}

// KeptBytes is how many bytes of modules the state folder keeps copies of, as far as is known. Any
// goroutine may call it.
func (p *Loader) KeptBytes() int64 { return p.kept.bytes.Load() }

// Code is how many bytes of compiled code the state folder has, as far as is known, and how many
// files of it had to go for code_cache. Any goroutine may call it.
func (p *Loader) Code() (bytes, removed int64) {
	if p.store == nil {
		return 0, 0
	}
	return p.store.Code()
}

// RemovedModules is how many copies had to go for module_cache. Any goroutine may call it.
func (p *Loader) RemovedModules() int64 { return p.kept.removed.Load() }
