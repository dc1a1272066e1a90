package host

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"bulkhead/csa"
	"bulkhead/host/accept"
	"bulkhead/host/config"
	"bulkhead/host/loader"
	"bulkhead/host/plan"
	"bulkhead/host/service"
	"bulkhead/host/tenant"
)

// errStopping is why there is no reload while a host drains, or stops.
var errStopping = errors.New("reloading: the host stops; start it again with the new configuration")

// Reload serves another configuration from now on. It does not touch what is the same in both:
// sockets, what waits in their queues, instances, connections. It matches listeners by name, and
// sockets by address, or by both where the port is 0. Some keys change in place: config.InPlace
// says which. If another key of a listener has changed, or the file of its plugin, new connections
// get new handlers. The old connections keep theirs, which are told to stop (csa_stop), for as long
// as old_for says. Listeners and tenants that are no longer configured drain in the same way.
// Reload also tries the plugins of quarantined listeners again.
//
// Reload first loads, starts and opens everything beside what runs, and changes nothing before that
// is done. If it returns an error, nothing has changed. The error is config.Errors where a line of
// the configuration is to blame.
//
// Any goroutine but a loop's may call Reload while Run serves. It waits until another Reload is
// over. When ctx is done it gives up, unless it has begun to change things. The caller must not
// change the configuration afterwards.
func (h *Host) Reload(ctx context.Context, cfg *config.Config) error {
	if err := complete(cfg); err != nil {
		return err
	}
	done, err := h.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer done()
	p, err := h.newReload(cfg, nil)
	if err != nil {
		return err
	}
	return p.carryOut(ctx)
}

// takeTurn waits until no other reload is made, and has none be made until done is called.
func (h *Host) takeTurn(ctx context.Context) (done func(), err error) {
	select {
	case h.reloading <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("reloading: %w", context.Cause(ctx))
	case <-h.closed:
		return nil, errStopping
	}
	done = func() { <-h.reloading }
	switch {
	case h.machine.Draining.Load() || h.machine.Stopping.Load():
		err = errStopping
	case !h.running:
		err = errors.New("reloading: the host does not serve yet; call Run first")
	default:
		return done, nil
	}
	done()
	return nil, err
}

// reload is what a reload has to do.
type reload struct {
	*build
	h        *Host
	before   *state
	was      map[*service.Generation]*config.Listener // as they are configured before
	back     *past                                    // what is gone back to; nil: it goes on to something new
	added    []*tenant.Tenant                         // new ones
	limits   []tenant.Limits                          // of tenants that have others
	rebuilt  map[string][]string                      // the keys of tenants that their instances have from their start
	replaced []*service.Generation                    // by another of their listener
	removed  []*service.Generation                    // with their listener
	closed   map[accept.Sockets]bool                  // no listener is at their address any more
	changes  []Change                                 // the host's, the tenants' and the listeners', the same ones too
	same     int                                      // listeners
	inPlace
}

// newReload finds out what differs, and whether that can be had without a restart. With back, cfg
// is that one's, and plugins are what they were then, whatever their files hold now.
func (h *Host) newReload(cfg *config.Config, back *past) (*reload, error) {
	before := h.now.Load()
	p := &reload{
		h: h, before: before, back: back, was: make(map[*service.Generation]*config.Listener), closed: make(map[accept.Sockets]bool),
		rebuilt: make(map[string][]string), build: h.newBuild(cfg, maps.Clone(before.tenants)), inPlace: newInPlace(),
	}
	for i, g := range before.generations {
		p.was[g] = &before.config.Listeners[i]
	}
	p.compareHost()
	p.compareTenants()
	if err := p.err(); err != nil {
		p.drop()
		return nil, err
	}
	p.compareListeners()
	if err := p.err(); err != nil {
		p.drop()
		return nil, err
	}
	return p, nil
}

func (p *reload) compareHost() {
	changes, errs := plan.Host(p.config, p.before.config)
	p.changes, p.errs = append(p.changes, changes...), append(p.errs, errs...)
}

func (p *reload) compareTenants() {
	stays := make(map[string]bool)
	was := make(map[string]bool)
	for i := range p.before.config.Tenants {
		was[p.before.config.Tenants[i].Name] = true
	}
	for i := range p.config.Tenants {
		c := &p.config.Tenants[i]
		stays[c.Name] = true
		known := p.tenants[c.Name]
		if known == nil {
			p.addTenant(c)
			continue
		}
		change, renewing := plan.Tenant(c, known.Config(), was[c.Name])
		p.changes = append(p.changes, change)
		if len(change.Keys) == 0 {
			continue
		}
		p.rebuilt[c.Name] = renewing
		limits, err := known.Limits(*c)
		if err != nil {
			p.errs = append(p.errs, &config.Error{File: p.config.File, Line: c.LineOf("connect"), What: err.Error()})
		}
		p.limits = append(p.limits, limits)
	}
	for i := range p.before.config.Tenants {
		if name := p.before.config.Tenants[i].Name; !stays[name] {
			p.changes = append(p.changes, Change{Of: "tenant", Name: name, What: Removed, Draining: p.tenants[name].Connections.Used()})
		}
	}
}

// addTenant makes a tenant that there was not.
func (p *reload) addTenant(c *config.Tenant) {
	t, err := p.h.newTenant(*c)
	if err != nil {
		p.errs = append(p.errs, &config.Error{File: p.config.File, Line: c.Line, What: err.Error()})
		return
	}
	p.tenants[c.Name] = t
	p.added = append(p.added, t)
	p.h.plugins.AddTenant(t)
	change, _ := plan.Tenant(c, nil, false)
	p.changes = append(p.changes, change)
}

// compareListeners makes generations of those listeners that need one.
func (p *reload) compareListeners() {
	known := make(map[string]*service.Generation)
	for _, g := range p.before.generations {
		known[g.Name()] = g
	}
	changes := make([][]string, len(p.config.Listeners)) // that need a new generation
	differ := make([][]string, len(p.config.Listeners))  // all of them
	sums := make(map[string][sha256.Size]byte)
	for i := range p.config.Listeners {
		l := &p.config.Listeners[i]
		g := known[l.Name]
		if g == nil {
			continue
		}
		differ[i] = l.Changes(p.was[g])
		changes[i] = l.Renewing(p.was[g])
		if len(changes[i]) == 0 {
			changes[i] = p.changedFiles(g, l, sums)
			differ[i] = append(differ[i], changes[i]...)
		}
		for _, s := range g.Servers() {
			for _, key := range p.rebuiltFor(s) {
				if said := "its tenant's " + key; !slices.Contains(changes[i], said) {
					changes[i] = append(changes[i], said)
					differ[i] = append(differ[i], said)
				}
			}
		}
	}
	sockets := p.match(known, changes)
	for i := range p.config.Listeners {
		l := &p.config.Listeners[i]
		g := known[l.Name]
		delete(known, l.Name)
		change := Change{Of: "listener", Name: l.Name, What: Added, Keys: differ[i]}
		switch {
		case g != nil && len(changes[i]) == 0:
			if change.What = InPlace; len(differ[i]) == 0 {
				change.What = Same
			}
			p.changes = append(p.changes, change)
			p.keep(g)
			if len(differ[i]) > 0 {
				p.kept[g] = l
			} else {
				p.same++
			}
			p.retuneLater(g.Sockets(), l)
			continue
		case g != nil:
			p.replaced = append(p.replaced, g)
			change.What, change.Draining, change.OldFor = NewGeneration, g.Connections(), p.oldFor(g)
		}
		p.changes = append(p.changes, change)
		p.add(l, g, sockets[i], changes[i])
		p.checkSocket(l, sockets[i])
		p.retuneLater(sockets[i], l)
	}
	for _, g := range p.before.generations {
		if name := g.Name(); known[name] == g {
			p.removed = append(p.removed, g)
			p.changes = append(p.changes, Change{Of: "listener", Name: name, What: Removed, Draining: g.Connections(), OldFor: p.oldFor(g)})
		}
	}
	p.pin()
	p.findTerms()
}

// rebuiltFor are the keys of a server's tenant for which its instances have to be made anew. memory
// is one of them where they could grow further than they can now.
func (p *reload) rebuiltFor(s *service.Server) []string {
	keys := p.rebuilt[s.Tenant().Name()]
	for _, l := range p.limits {
		if m := s.Module(); l.Tenant == s.Tenant() && m != nil && m.MoreWithin(l.Memory()) {
			return append(slices.Clone(keys), "memory")
		}
	}
	return keys
}

// match finds the sockets for listeners that get a new generation; nil: they open their own. It
// notes those that no listener has any more.
func (p *reload) match(known map[string]*service.Generation, changes [][]string) []accept.Sockets {
	before := make([]plan.Place, len(p.before.generations))
	for i, g := range p.before.generations {
		at := g.Sockets().Address()
		before[i] = plan.Place{Listener: g.Name(), Network: at.Network, Host: at.Host}
		p.closed[g.Sockets()] = true
	}
	now := make([]plan.Place, len(p.config.Listeners))
	for i := range p.config.Listeners {
		l := &p.config.Listeners[i]
		now[i] = plan.Place{Listener: l.Name, Network: l.Address.Network, Host: l.Address.Host, Unchanged: known[l.Name] != nil && len(changes[i]) == 0}
	}
	sockets := make([]accept.Sockets, len(now))
	for i, from := range plan.Sockets(now, before) {
		if from >= 0 {
			sockets[i] = p.before.generations[from].Sockets()
			delete(p.closed, sockets[i])
		}
	}
	return sockets
}

// checkSocket finds what a socket that stays open cannot become.
func (p *reload) checkSocket(l *config.Listener, k accept.Sockets) {
	if k == nil {
		return
	}
	var old *config.Listener
	for _, g := range p.before.generations {
		if g.Sockets() == k {
			old = p.was[g]
		}
	}
	for _, key := range l.Changes(old) {
		shared := l.Reload(key) == config.NewSocket
		if _, udp := k.(*accept.Datagrams); udp {
			// Its peers are the tenant's, and it has a socket for each loop, or one in all.
			shared = shared || key == "tenant" || key == "instance" && (l.Instance == "listener") != (old.Instance == "listener")
		}
		if shared {
			p.cannot(l, key)
		}
	}
}

// changedFiles says of which of a generation's plugins the file is another one.
func (p *reload) changedFiles(g *service.Generation, l *config.Listener, sums map[string][sha256.Size]byte) (changed []string) {
	for i, s := range g.Servers() {
		now := l
		if i > 0 {
			now = &l.Routes[i-1].Listener
		}
		was, loaded := s.LoadedSum()
		if !loaded {
			continue // it is loaded from what is there
		}
		if p.back != nil {
			if sum, known := p.back.sums[s.Config().Name]; known {
				if sum != was {
					changed = append(changed, "what "+s.Config().Plugin+" holds")
				}
				continue
			}
		}
		sum, known := sums[s.Config().Plugin]
		if !known {
			var err error
			if _, sum, err = p.h.plugins.Read(now); err != nil {
				p.errs = append(p.errs, p.config.ListenerError(now, "plugin", err))
				continue
			}
			sums[s.Config().Plugin] = sum
		}
		if sum != was {
			changed = append(changed, "what "+s.Config().Plugin+" holds")
		}
	}
	return changed
}

// carryOut does it, or nothing.
func (p *reload) carryOut(ctx context.Context) error {
	h := p.h
	for _, l := range p.limits {
		l.Begin()
	}
	err := p.prepare(ctx)
	if err == nil {
		h.mu.Lock()
		switch {
		case h.machine.Draining.Load() || h.machine.Stopping.Load():
			err = errStopping
		case ctx.Err() != nil:
			err = fmt.Errorf("reloading: %w", context.Cause(ctx))
		default:
			next := p.state(slices.Concat(h.now.Load().retired, p.replaced, p.removed))
			next.past = p.past()
			h.now.Store(next)
		}
		h.mu.Unlock()
	}
	if err != nil {
		p.drop()
		return err
	}
	if next := h.now.Load().past; next != p.before.past {
		h.keepPast(next)
	}
	for _, g := range p.made {
		if slices.Contains(p.opened, g.Sockets()) {
			g.LogListening()
		}
		g.Sockets().Serve(g.Servers()[0])
	}
	p.retire(slices.Concat(p.replaced, p.removed))
	p.closeOldest()
	for _, g := range p.all {
		for _, s := range g.Servers() {
			if late, ok := s.Provider().(*loader.Pending); ok {
				late.RetryNow()
			}
		}
	}
	h.tellLoops(h.setLimits(p.limits), p.exchange())
	h.setHost(p.config)
	if h.inForce != nil {
		h.inForce(p.config)
	}
	h.watchCertificates()
	h.dropTenants()
	for _, c := range p.changes {
		if c.What != Same {
			h.machine.Log.Info("reloaded", c.LogArgs()...)
		}
	}
	h.machine.Log.Info("the new configuration is in force", "listeners_unchanged", p.same, "listeners_changed", len(p.replaced), "listeners_changed_in_place", len(p.kept),
		"listeners_removed", len(p.removed), "listeners_added", len(p.made)-len(p.replaced), "tenants_added", len(p.added), "tenants_changed", len(p.limits))
	return nil
}

// prepare makes everything new, beside what runs.
func (p *reload) prepare(ctx context.Context) error {
	if slices.ContainsFunc(p.made, func(g *service.Generation) bool { return slices.ContainsFunc(g.Servers(), p.h.wantsPlugin) }) {
		if err := p.h.plugins.Prepare(p.config); err != nil {
			return err
		}
	}
	for _, step := range []func(){func() { p.load(false) }, p.front, p.build.open, p.startHandlers} {
		step()
		if err := p.err(); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("reloading: %w", context.Cause(ctx))
		}
	}
	for _, k := range p.opened {
		if err := k.Register(); err != nil {
			return fmt.Errorf("reloading: listening on %s://%s: %w", k.Address().Network, k.Listening()[0], err)
		}
	}
	p.retune()
	return p.err()
}

// wantsPlugin reports whether a server's handlers are of a plugin.
func (h *Host) wantsPlugin(s *service.Server) bool {
	return s.Config().ServesItself() && h.native[s.Config().Name] == nil
}

// drop lets go of what was made, of which nothing is in force.
func (p *reload) drop() {
	h := p.h
	for _, l := range p.limits {
		l.GiveUp()
	}
	p.retuneBack()
	for _, k := range p.opened {
		k.Close(csa.HostStopped.Reason())
	}
	if p.loaded { // else no handler has dialled
		h.machine.CloseConnections(p.made, csa.HostStopped.Reason())
	}
	for _, g := range p.made {
		g.Close()
	}
	for _, t := range p.added {
		h.over(t)
	}
}

// oldFor is for how long connections of a generation may go on that is retired: as its listener
// is configured now, or was at last.
func (p *reload) oldFor(g *service.Generation) time.Duration {
	for _, cfg := range []*config.Config{p.config, p.before.config} {
		for i := range cfg.Listeners {
			if l := &cfg.Listeners[i]; l.Name == g.Name() {
				return l.OldFor
			}
		}
	}
	return 0
}

// retire has generations end by themselves: each closes when its last connection has ended. Their
// handlers are told to stop.
func (p *reload) retire(all []*service.Generation) {
	retired := make([]service.Retirement, len(all))
	for i, g := range all {
		oldFor := p.oldFor(g)
		retired[i] = service.Retirement{Generation: g, CloseSockets: p.closed[g.Sockets()], OldFor: oldFor, Expired: func() { p.h.expire(g, oldFor) }}
	}
	p.h.machine.Retire(retired)
}

// delayStop has the host not stop until release is called; not ok: it stops already.
func (h *Host) delayStop() (release func(), ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.machine.Stopping.Load() {
		return nil, false
	}
	h.ends.Add(1)
	return h.ends.Done, true
}

// closeOldest closes the oldest generations of the listeners that have more than their key
// generations allows. Those that are being closed do not count.
func (p *reload) closeOldest() {
	old := make(map[string][]*service.Generation)
	retired := p.h.now.Load().retired
	for _, g := range retired { // the oldest is the first
		if !g.Ending() && g.Connections() > 0 {
			old[g.Name()] = append(old[g.Name()], g)
		}
	}
	var over []*service.Generation
	for i := range p.config.Listeners {
		l := &p.config.Listeners[i]
		all := old[l.Name]
		over = append(over, all[:max(len(all)-max(l.Generations, 1)+1, 0)]...)
	}
	p.h.machine.CloseEvenly(over, retired, csa.Generations, p.config.Host.Drain)
}

// expire closes what is left of a generation whose time is over: evenly over drain, or, where its
// time was none at all, at once.
func (h *Host) expire(g *service.Generation, oldFor time.Duration) {
	over := h.now.Load().config.Host.Drain
	if oldFor <= 0 {
		over = 0
	}
	h.machine.CloseEvenly([]*service.Generation{g}, h.now.Load().retired, csa.OldFor, over)
}

// end closes a retired generation whose last connection is gone. It is not called on a loop.
func (h *Host) end(g *service.Generation) {
	release, ok := h.delayStop()
	if !ok {
		return // shut closes it
	}
	g.Close()
	h.mu.Lock()
	now := *h.now.Load()
	now.retired = slices.DeleteFunc(slices.Clone(now.retired), func(other *service.Generation) bool { return other == g })
	h.book(g)
	h.now.Store(&now)
	h.mu.Unlock()
	release()
	select {
	case h.reloading <- struct{}{}:
		h.dropTenants()
		<-h.reloading
	case <-h.closed:
	}
}

// dropTenants gives back what tenants have that no configuration and no generation has any more.
// No reload is made meanwhile.
func (h *Host) dropTenants() {
	h.mu.Lock()
	if h.machine.Stopping.Load() {
		h.mu.Unlock()
		return // shut does
	}
	now := *h.now.Load()
	used := make(map[*tenant.Tenant]bool)
	for _, c := range now.config.Tenants {
		used[now.tenants[c.Name]] = true
	}
	now.each(func(s *service.Server) { used[s.Tenant()] = true })
	all := now.tenants
	now.tenants = maps.Clone(all)
	maps.DeleteFunc(now.tenants, func(_ string, t *tenant.Tenant) bool { return !used[t] })
	h.now.Store(&now)
	h.mu.Unlock()
	for name, t := range all {
		if !used[t] {
			h.over(t)
			h.machine.Log.Info("a tenant that was removed is over", "tenant", name)
		}
	}
}

// over gives back what a tenant has that nothing serves any more.
func (h *Host) over(t *tenant.Tenant) {
	h.plugins.DropTenant(t.Name())
	if err := t.Close(); err != nil {
		h.machine.Log.Error("a tenant was removed and does not end", "error", err)
	}
	h.tellUsage(t)
}
