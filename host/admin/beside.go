package admin

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"bulkhead/host/admin/guard"
	"bulkhead/host/config"
	"bulkhead/host/listen"
)

// ViewName is the name of the socket in the state folder that is for reading alone.
const ViewName = "admin-view.sock"

// socketHost is what a request by a Unix socket names as its host; localhost will do as well.
const socketHost = "bulkhead"

// entrance is one socket by which others come in.
type entrance struct {
	server *http.Server
	socket net.Listener
	rules  atomic.Pointer[http.Handler] // what passes, and all behind it
	served sync.WaitGroup
	at     netip.AddrPort // over TCP
}

// enter serves those who come in by a listener, whose name is for the log.
func (d *Door) enter(l net.Listener, via string, r guard.Rules) *entrance {
	e := &entrance{socket: guard.Bounded(l, mostCallers)}
	e.set(d, r)
	e.server = guard.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set(versionHeader, d.version)
		(*e.rules.Load()).ServeHTTP(w, q)
	}), d.log)
	e.server.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return withCaller(ctx, via, c) }
	e.server.SetKeepAlivesEnabled(false) // who has had an answer makes room
	e.served.Go(func() { _ = e.server.Serve(e.socket) })
	return e
}

// set has other rules hold from the next request on.
func (e *entrance) set(d *Door, r guard.Rules) {
	r.Refused = d.refused.add
	h := r.Guard(d.calls)
	e.rules.Store(&h)
}

// close cuts off who is inside.
func (e *entrance) close() {
	_ = e.server.Close()
	e.served.Wait()
}

// part gives those inside as long as a request may take, or until ctx is done.
func (e *entrance) part(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, responseTime)
	defer cancel()
	if e.server.Shutdown(ctx) != nil {
		_ = e.server.Close()
	}
	e.served.Wait()
}

// local are the rules of a Unix socket whose mode lets in only those who may do everything.
func (d *Door) local() guard.Rules { return guard.Rules{Hosts: socketHosts, Local: true} }

// socketHosts are what a request by a Unix socket may name as its host.
var socketHosts = hostsOf(socketHost, "localhost")

func hostsOf(names ...string) []guard.Host {
	var all []guard.Host
	for _, name := range names {
		if h, err := guard.ParseHost(name); err == nil {
			all = append(all, h)
		}
	}
	return all
}

// beside are the doors beside the one of the daemon's own user.
type beside struct {
	mu   sync.Mutex
	over bool
	tcp  *entrance
	at   netip.AddrPort // of tcp, as [admin] has it
	// ready listens, and is not served before the configuration that wants it is in force.
	ready   net.Listener
	readyAt netip.AddrPort

	view   *entrance
	socket *socket // of view

	// parting are those that have been closed, with somebody inside, until ctx is done.
	parting sync.WaitGroup
	ctx     context.Context
	end     context.CancelFunc
}

// settings are [admin] with its files read and its names looked up.
type settings struct {
	at    netip.AddrPort // not valid: none
	hosts []guard.Host
	token guard.Token
	group int // of the view socket; -1: there is none
}

// Check says what is wrong with what [admin] says of doors: the token's file, and the group. It
// opens nothing. The error is a config.Errors.
func Check(cfg *config.Config) error {
	_, err := settingsOf(cfg)
	return err
}

func settingsOf(cfg *config.Config) (settings, error) {
	a := &cfg.Admin
	s := settings{at: a.Address, group: -1}
	var errs config.Errors
	if a.Token != "" {
		var err error
		if s.token, err = guard.ReadToken(a.Token); err != nil {
			errs = append(errs, cfg.AdminError("token", err))
		}
	}
	s.hosts = hostsOf(a.Hosts...)
	if a.View != "" {
		var err error
		if s.group, err = viewGroup(a.View); err != nil {
			errs = append(errs, cfg.AdminError("view", err))
		}
	}
	if len(errs) > 0 {
		slices.SortFunc(errs, func(a, b *config.Error) int { return a.Line - b.Line })
		return s, errs
	}
	return s, nil
}

// viewGroup is a group's number. Files can be given to it only by those who are in it, and root.
func viewGroup(name string) (int, error) {
	_, group, err := listen.Owner(":" + name)
	if err != nil {
		return -1, err
	}
	if os.Geteuid() != 0 && os.Getegid() != group {
		if in, err := os.Getgroups(); err != nil || !slices.Contains(in, group) {
			return -1, fmt.Errorf("the user %d, which this process is of, is not in the group %q; put it there, or name another one", os.Geteuid(), name)
		}
	}
	return group, nil
}

// Prepare opens what a configuration needs that is not open, for Set, which may follow or not: then
// Discard does. Nobody is served there yet. The error is a config.Errors, and then nothing is
// prepared.
func (d *Door) Prepare(cfg *config.Config) error {
	s, err := settingsOf(cfg)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.prepare(s); err != nil {
		return config.Errors{cfg.AdminError("address", err)}
	}
	if s.group >= 0 {
		if err := mayReach(d.state, s.group); err != nil {
			d.discard()
			return config.Errors{cfg.AdminError("view", err)}
		}
	}
	return nil
}

// Discard closes what Prepare has opened, and Set has not taken.
func (d *Door) Discard() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.discard()
}

func (d *Door) discard() {
	if d.ready != nil {
		_ = d.ready.Close()
	}
	d.ready, d.readyAt = nil, netip.AddrPort{}
}

// prepare has a listener be ready for the address, unless that is open.
func (d *Door) prepare(s settings) error {
	if d.readyAt != s.at {
		d.discard()
	}
	if !s.at.IsValid() || d.tcp != nil && d.at == s.at || d.ready != nil {
		return nil
	}
	var o net.ListenConfig
	l, err := o.Listen(context.Background(), "tcp", s.at.String())
	if err != nil {
		return fmt.Errorf("%w; name an address of this machine with a port that nobody else has", err)
	}
	d.ready, d.readyAt = l, s.at
	return nil
}

// Set has the doors be as a configuration says that is in force. Those that it does not have are
// closed: who is inside has some seconds. With an error, which is a config.Errors, those that could
// not be had are not there, and the others are.
func (d *Door) Set(cfg *config.Config) error {
	s, err := settingsOf(cfg)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		return nil
	}
	var errs config.Errors
	if err := d.setTCP(s); err != nil {
		errs = append(errs, cfg.AdminError("address", err))
	}
	if err := d.setView(s); err != nil {
		errs = append(errs, cfg.AdminError("view", err))
	}
	if len(errs) > 0 {
		return errs
	}
	return nil
}

func (d *Door) setTCP(s settings) error {
	if d.tcp != nil && d.at != s.at {
		d.away(d.tcp)
		d.log.Info("no more is answered over TCP", "address", d.at.String())
		d.tcp = nil
	}
	if err := d.prepare(s); err != nil {
		return err
	}
	switch {
	case !s.at.IsValid():
	case d.tcp != nil:
		d.tcp.set(d, s.rules(d.tcp.at))
	default:
		l := d.ready
		d.ready, d.readyAt = nil, netip.AddrPort{}
		at := l.Addr().(*net.TCPAddr).AddrPort()
		d.tcp, d.at = d.enter(l, at.String(), s.rules(at)), s.at
		d.tcp.at = at
		d.log.Info("what the daemon is asked over TCP is answered", "address", at.String(), "changes", !s.token.IsZero())
	}
	return nil
}

// rules are those of the door at an address.
func (s *settings) rules(at netip.AddrPort) guard.Rules {
	return guard.Rules{Hosts: slices.Concat(guard.Of(at), s.hosts), Token: s.token}
}

func (d *Door) setView(s settings) error {
	if s.group < 0 {
		if d.view != nil {
			d.away(d.view)
			d.view, d.socket = nil, nil
		}
		return nil
	}
	if err := letReach(d.state, s.group); err != nil {
		return err
	}
	if d.view != nil {
		return d.socket.give(0o660, s.group)
	}
	l, err := makeSocket(filepath.Join(d.state, ViewName), 0o660, s.group)
	if err != nil {
		return err
	}
	d.view, d.socket = d.enter(l, ViewName, guard.Rules{Hosts: socketHosts}), l
	return nil
}

// away lets nobody in by an entrance any more: its socket is closed, and its file is gone. Those
// inside have some seconds, and it does not wait for them: one of them may have asked for it.
func (d *Door) away(e *entrance) {
	_ = e.socket.Close()
	d.parting.Go(func() { e.part(d.ctx) })
}

// shut closes all of them.
func (d *Door) shut() {
	d.mu.Lock()
	d.over = true
	d.discard()
	all := []*entrance{d.tcp, d.view}
	d.tcp, d.view = nil, nil
	d.mu.Unlock()
	for _, e := range all {
		if e != nil {
			e.close()
		}
	}
	d.end()
	d.parting.Wait()
}

// mayReach reports whether a group can be let through the state folder to a socket in it.
func mayReach(state string, group int) error {
	info, err := os.Stat(state)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	mode := info.Mode().Perm()
	switch {
	case !ok:
		return fmt.Errorf("the owner of %s is not known", state)
	case mode&0o001 != 0 || int(stat.Gid) == group && mode&0o010 != 0:
		return nil
	case mode&0o070 != 0 && int(stat.Gid) != group:
		return fmt.Errorf("the group %d may use %s, so that it is not given to another one; say chgrp %d %s && chmod g+x %s", stat.Gid, state, group, state, state)
	case os.Geteuid() != 0 && int(stat.Uid) != os.Geteuid():
		return fmt.Errorf("the group cannot pass through %s, which belongs to another user; say chgrp %d %s && chmod g+x %s", state, group, state, state)
	}
	return nil
}

// letReach lets a group through the state folder: it may not list what is there, and all that is
// there has a mode of its own, which lets nobody but the daemon's user read it.
func letReach(state string, group int) error {
	if err := mayReach(state, group); err != nil {
		return err
	}
	info, err := os.Stat(state)
	if err != nil {
		return err
	}
	mode := info.Mode().Perm()
	if stat, ok := info.Sys().(*syscall.Stat_t); mode&0o001 != 0 || ok && int(stat.Gid) == group && mode&0o010 != 0 {
		return nil
	}
	if err := os.Chown(state, -1, group); err != nil {
		return err
	}
	return os.Chmod(state, mode|0o010)
}
