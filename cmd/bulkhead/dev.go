package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"bulkhead/host"
	"bulkhead/host/access"
	"bulkhead/host/config"
	"bulkhead/host/logqueue"
	"bulkhead/host/recent"
	"bulkhead/internal/bytesize"
	"bulkhead/internal/dev"
	"bulkhead/internal/play"
	"bulkhead/internal/talk"
	"bulkhead/internal/watch"

	"github.com/spf13/cobra"
)

func devCommand() *cobra.Command {
	d := &developing{}
	listen := ""
	c := &cobra.Command{
		Use:   "dev FILE|FOLDER",
		Short: "Serve handlers while you write them: build, reload and test at each change",
		Long: `Dev serves what FILE says, as run does, and watches what the handlers are made of: the file
itself, scripts with what they import, and the sources beside which a module lies. When one of
them has changed it builds what has to be built (see bulkhead build), reloads, says which
module serves which listener, and plays the conversations (*.talk) beside the handler.
Connections that are open keep the handler that they began with.

Whatever is wrong is said, as FILE:LINE:COLUMN: what, and what a compiler prints, as it is.
What was served before goes on until the mistake is mended.

FILE is a configuration, or a handler without one: a script, a module, a source, or a folder
with one of these. Such a handler is served with the defaults of all keys, at --listen.

It shows what handlers log, what each connection that ends has used, and, on a terminal, what goes
on now. The other commands, such as bulkhead status, find it by its configuration.

Ctrl-C ends it, with all compilers. SIGHUP has everything be built and loaded anew.
[host] user, landlock, seccomp, grace and drain, and [admin] access_log, are for run: dev does
as if they were not there.`,
		Args: one("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			found, err := dev.Find(args[0])
			if err != nil {
				return err
			}
			if found.TOML != "" && listen != "" {
				return fmt.Errorf("--listen is for a handler without a configuration; %s says where its listeners listen", args[0])
			}
			if listen == "" {
				listen = dev.DefaultListen
			}
			return d.run(c, found, listen)
		},
	}
	c.Flags().StringVar(&listen, "listen", "", "where a handler without a configuration listens, `HOST:PORT`; "+dev.DefaultListen+" if it is left out")
	c.Flags().BoolVar(&d.noTry, "no-try", false, "do not play the conversations")
	c.Flags().BoolVarP(&d.verbose, "verbose", "v", false, "print the whole log of the host")
	return c
}

// developing is a dev that runs. Its methods are for one goroutine, unless they say otherwise.
type developing struct {
	noTry, verbose bool

	screen   *screen
	workshop *dev.Workshop
	found    dev.Found
	listen   string
	folder   string // where it was started
	service  *service
	state    string        // the configuration's state folder
	engines  host.Engines  // that conversations are played with
	wake     chan struct{} // SIGHUP
	watcher  watch.Watcher
	// onlyTalks says that nothing but conversations has changed.
	onlyTalks bool
	anew      bool              // all is to be built, whatever has changed
	daemon    *reloader         // nil: nothing is served yet
	served    map[string]string // the SHA-256 of each listener's plugin, as it was said last
	tested    map[string]string // by plugin, what was played last, and with what
	beyond    map[string]bool   // folders of which it was said that they are too large
	handlers  atomic.Pointer[[]*dev.Handler]
}

func (d *developing) run(c *cobra.Command, found dev.Found, listen string) error {
	d.screen, d.found, d.listen = newScreen(c.OutOrStdout()), found, listen
	d.wake = make(chan struct{}, 1)
	d.served, d.tested, d.beyond = make(map[string]string), make(map[string]string), make(map[string]bool)
	d.folder, _ = os.Getwd() // "": paths are written as they are
	file := found.TOML
	if file == "" {
		var err error
		if file, err = dev.WriteConfiguration(found.Plugin, listen); err != nil {
			return err
		}
	}
	d.workshop = &dev.Workshop{File: file, Compiler: compileWith, Log: d.screen}

	last := recent.New()
	level := new(slog.LevelVar)
	queue := logqueue.New(d.screen, logqueue.Options{
		Format: func(w io.Writer) slog.Handler { return devLog{d: d, w: w, level: level} },
		Keep:   last.Add,
		KeepAs: func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}) },
	})
	s := newService(c, file, queue, level, last, 0, nil)
	defer s.stop.over()
	s.manager = newManager(nil, s.stop.log)
	s.access = &devAccess{d: d}
	s.quiet = true
	s.read = func() (*config.Config, error) { return d.read(config.Load) }
	s.hangup = func() {
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
	s.stop.reload.Store(&s.hangup)
	d.service = s

	d.screen.say("dev serves %s; Ctrl-C ends it", d.shown(cmp.Or(found.TOML, found.Plugin)))
	if found.TOML == "" {
		d.screen.say("it has no configuration: the one that is used is %s", file)
	}
	return d.begin(s)
}

// begin builds until there is something to serve, and serves that until the process is told to
// stop.
func (d *developing) begin(s *service) error {
	for {
		before := d.watcher.Look(d.workshop.Watched())
		d.round(s.stop.ctx, before)
		cfg, err := d.read(config.LoadToRun)
		if err == nil {
			setLevel(s.level, cfg.Host.LogLevel)
			keepLinesOf(s.recent, cfg)
			served := false
			s.begun = func(r *reloader) func() {
				served = true
				return d.follow(s.stop.ctx, r, before)
			}
			if err = s.serve(cfg); served || err == nil {
				return err
			}
		}
		after := d.watcher.Look(d.workshop.Watched())
		d.wrong(err)
		d.screen.say("nothing is served yet; it is tried again when something has changed")
		if !d.next(s.stop.ctx, before, after) {
			return nil
		}
	}
}

// read reads the configuration with one of config's functions, and leaves out what is for run.
func (d *developing) read(read func(path string) (*config.Config, error)) (*config.Config, error) {
	cfg, err := read(d.workshop.File)
	if err != nil {
		return nil, err
	}
	h, a := &cfg.Host, &cfg.Admin
	d.state = h.State
	h.User, h.Landlock, h.Seccomp, h.Grace, h.Drain = "", false, false, 0, goodbye
	a.AccessLog, a.AccessSample, a.AccessInterval = access.Stdout, 1, openInterval
	return cfg, nil
}

// goodbye is how long connections may go on when dev is told to end.
const goodbye = 100 * time.Millisecond

// openInterval is how often a line is written of a connection that is open, if something has
// happened on it.
const openInterval = 10 * time.Second

// round reads the configuration, and builds what has changed.
func (d *developing) round(ctx context.Context, state watch.State) {
	d.screen.forget()
	if cfg, err := config.LoadToBuild(d.workshop.File); err == nil {
		d.workshop.Set(cfg)
		handlers := d.workshop.Handlers()
		d.handlers.Store(&handlers)
	}
	began := time.Now()
	d.learn(state, began)
	for _, folder := range d.workshop.Beyond() {
		if !d.beyond[folder] {
			d.beyond[folder] = true
			d.screen.say("%s has too many files: only the first are watched; SIGHUP builds it anew", d.shown(folder))
		}
	}
	for _, r := range d.workshop.Build(ctx, state, d.anew) {
		switch {
		case r.Err != nil:
			for _, line := range dev.Lines(r.Err, r.Handler, d.shown) {
				d.screen.line(line)
				d.screen.first(dev.FindPlace(line, []string{d.folder}, d.shown))
			}
		case r.Source() != "" && r.Made:
			d.screen.say("built %s from %s in %v: %s", d.shown(r.Plugin), r.Source(), r.Took.Round(time.Millisecond), bytesize.String(int64(r.Size)))
		case r.Source() != "":
			d.screen.say("built %s from %s in %v: the same as before", d.shown(r.Plugin), r.Source(), r.Took.Round(time.Millisecond))
		}
	}
	if d.found.TOML == "" { // a module that is a program is known when it is there
		if _, err := dev.WriteConfiguration(d.found.Plugin, d.listen); err != nil {
			d.screen.say("%v", err)
		}
	}
	d.learn(state, began)
	d.anew = false
}

// learn adds what is watched and not in a state yet: what is new to the configuration, or was found
// to be part of a script. What was written to since the round began is a change.
func (d *developing) learn(state watch.State, began time.Time) {
	for path, f := range d.watcher.Look(d.workshop.Watched()) {
		if _, known := state[path]; !known && f.Before(began) {
			state[path] = f
		}
	}
}

// next waits until something has changed since before a round, or since after it, which is from
// before its outcome was said: whoever saves a file once more when he has read that is heard, also
// if it is as it was. It reports whether there is a next round.
func (d *developing) next(ctx context.Context, before, after watch.State) bool {
	base, found := d.workshop.Base(before, after)
	for _, path := range found {
		d.screen.say("%s changes whenever something is built: it is taken for an output, and its changes while something is built are ignored", d.shown(path))
	}
	_, changed, err := d.watcher.Wait(ctx, base, d.workshop.Watched, d.wake)
	if err != nil {
		return false
	}
	d.onlyTalks = false
	if d.anew = len(changed) == 0; d.anew {
		d.screen.say("SIGHUP: everything is built and loaded anew")
		return true
	}
	d.onlyTalks = !slices.ContainsFunc(changed, func(path string) bool { return filepath.Ext(path) != ".talk" })
	names := make([]string, 0, mostNamed)
	for _, path := range changed[:min(len(changed), mostNamed)] {
		names = append(names, d.shown(path))
	}
	more := ""
	if n := len(changed) - len(names); n > 0 {
		more = fmt.Sprintf(", and %d more", n)
	}
	d.screen.say("changed: %s%s", strings.Join(names, ", "), more)
	return true
}

// mostNamed is how many files are named that have changed at once.
const mostNamed = 5

// follow serves what changes until the result is called. before is the state of what is served.
func (d *developing) follow(ctx context.Context, r *reloader, before watch.State) (over func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-r.host.Serving():
		case <-ctx.Done():
			return
		}
		d.daemon = r
		stopLive := d.showLive(ctx, r.host)
		defer stopLive()
		after := d.watcher.Look(d.workshop.Watched())
		d.said()
		for {
			stop := d.test(ctx)
			more := d.next(ctx, before, after)
			stop()
			if !more {
				return
			}
			before = d.watcher.Look(d.workshop.Watched())
			if after = before; d.onlyTalks {
				continue
			}
			d.round(ctx, before)
			_, _, err := r.reload(ctx, "dev", 0)
			after = d.watcher.Look(d.workshop.Watched())
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				d.wrong(err)
				d.screen.say("not replaced; %s", d.goesOn())
			default:
				d.said()
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// wrong says what is wrong, but what was said in this round already.
func (d *developing) wrong(err error) {
	all, ok := errors.AsType[config.Errors](err)
	if !ok {
		d.screen.say("%v", err)
		return
	}
	for _, e := range all {
		own := *e
		own.File = d.shown(e.File)
		line := own.Error()
		place := dev.FindPlace(e.What, d.folders(""), d.shown)
		switch {
		case place == "":
			d.screen.line(line)
		case d.screen.first(place):
			d.screen.line(place + ": " + e.What)
		}
	}
}

// place is the place in a handler's source that a text names first; "": none. Any goroutine may
// call it.
func (d *developing) place(text, listener string) string {
	return dev.FindPlace(text, d.folders(listener), d.shown)
}

// folders are those in which the sources of a listener's handler lie, or, for "", those of all.
func (d *developing) folders(listener string) (all []string) {
	handlers := d.handlers.Load()
	if handlers == nil {
		return nil
	}
	for _, h := range *handlers {
		if listener == "" || slices.Contains(h.Listeners, listener) {
			all = append(all, h.Folders()...)
		}
	}
	return all
}

// shown is a path as people write it: from the folder in which dev was started, if it lies there.
// Any goroutine may call it.
func (d *developing) shown(path string) string {
	if rel, err := filepath.Rel(d.folder, path); d.folder != "" && err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return path
}

// said says which modules serve which listeners, where that has changed.
func (d *developing) said() {
	changed := false
	for _, l := range d.daemon.host.Status().Listeners {
		if l.Removed {
			continue
		}
		now := cmp.Or(l.PluginSHA256, "none")
		if q := l.Quarantine; q != nil {
			now = "quarantined: " + q.Cause
		}
		now += " at " + l.Address
		if d.served[l.Name] == now {
			continue
		}
		d.served[l.Name], changed = now, true
		at := ""
		if l.Address != "" {
			at = " at " + l.Address
		}
		switch {
		case l.Quarantine != nil:
			d.screen.say("%s%s is closed: %s", l.Name, at, lineText(l.Quarantine.Cause))
		case l.PluginSHA256 == "":
			d.screen.say("%s%s loads its handler", l.Name, at)
		default:
			d.screen.say("%s%s serves %s, sha256 %s", l.Name, at, d.pluginOf(l.Name), l.PluginSHA256)
		}
	}
	if !changed {
		d.screen.say("no handler is replaced; %s", d.goesOn())
	}
}

// goesOn says which modules serve on.
func (d *developing) goesOn() string {
	var all []string
	for _, l := range d.daemon.host.Status().Listeners {
		if !l.Removed && l.PluginSHA256 != "" {
			all = append(all, fmt.Sprintf("%s goes on with sha256 %s", l.Name, l.PluginSHA256))
		}
	}
	switch {
	case len(all) == 0:
		return "nothing is served"
	case len(all) > mostNamed:
		return fmt.Sprintf("%s, and so do %d others with theirs", strings.Join(all[:mostNamed], ", "), len(all)-mostNamed)
	}
	return strings.Join(all, ", ")
}

func (d *developing) pluginOf(listener string) string {
	for _, h := range d.workshop.Handlers() {
		if slices.Contains(h.Listeners, listener) {
			return d.shown(h.Plugin)
		}
	}
	return "its handler"
}

// test plays the conversations of the handlers that are new, or whose conversations are, until the
// result is called or all are played.
func (d *developing) test(ctx context.Context) (stop func()) {
	if d.noTry {
		return func() {}
	}
	sums := make(map[string]string)
	for _, l := range d.daemon.host.Status().Listeners {
		sums[l.Name] = l.PluginSHA256
	}
	var trials []func(context.Context)
	for _, h := range d.workshop.Handlers() {
		talks := h.Talks()
		sum := sums[h.Listeners[0]]
		if h.Shape == "stdio" || sum == "" || len(talks) == 0 {
			continue
		}
		what := sum
		for _, path := range talks {
			text, _ := os.ReadFile(path)
			what += fmt.Sprintf(" %s %x", path, sha256.Sum256(text))
		}
		if d.tested[h.Plugin] == what {
			continue
		}
		trials = append(trials, func(ctx context.Context) {
			if d.play(ctx, h, talks); ctx.Err() == nil {
				d.tested[h.Plugin] = what
			}
		})
	}
	if len(trials) == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, f := range trials {
			if ctx.Err() == nil {
				f(ctx)
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// play plays the conversations of a handler. It is for a goroutine of its own.
func (d *developing) play(ctx context.Context, h *dev.Handler, talks []string) {
	t := &trial{quiet: true, out: d.screen, errs: d.screen, seed: 1}
	t.handler = play.Handler{Plugin: h.Plugin, Instance: h.Instance, Compiler: compileWith, State: d.state, Engines: &d.engines}
	for _, path := range talks {
		name := d.shown(path)
		text, err := os.ReadFile(path)
		if err != nil {
			d.screen.line(err.Error())
			continue
		}
		f, err := talk.Parse(name, text)
		if err != nil {
			d.screen.line(err.Error()) // which begins with the file and the line
			continue
		}
		failed := 0
		for _, one := range f.Cases {
			ok, err := t.play(ctx, f, one)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				d.screen.line(name + ": " + err.Error())
				return
			}
			if !ok {
				failed++
			}
		}
		if failed > 0 {
			d.screen.say("%s: %d of %d conversations with %s did not go as they are written", name, failed, len(f.Cases), h.Name())
		} else {
			d.screen.say("%s: all of %d conversations with %s went as they are written", name, len(f.Cases), h.Name())
		}
	}
}

// liveInterval is how often the last line of a terminal is written.
const liveInterval = 500 * time.Millisecond

// showLive shows on a terminal what goes on now, until the result is called.
func (d *developing) showLive(ctx context.Context, h *host.Host) (over func()) {
	if d.screen.file == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer d.screen.show("")
		next := time.NewTicker(liveInterval)
		defer next.Stop()
		for {
			h.Refresh(ctx)
			d.screen.show(liveLine(h.Stats()))
			select {
			case <-next.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// liveLine is what goes on now, of all listeners together.
func liveLine(s host.Stats) string {
	var open, accepted, in, out, events, fuel, failed int64
	for i := range s.Listeners {
		l := &s.Listeners[i]
		if strings.Contains(l.Name, "/") {
			continue // of a route; they are its listener's, too
		}
		open, accepted, in, out, failed = open+l.Active, accepted+l.Accepted, in+l.Received, out+l.Sent, failed+l.Failures()
		for _, n := range l.Events.Counts {
			events += n
		}
	}
	for i := range s.Tenants {
		fuel += s.Tenants[i].Fuel
	}
	return fmt.Sprintf("%d open of %d connections, %d events, %d fuel, %s in, %s out, %d failures", open, accepted, events, fuel, bytesize.String(in), bytesize.String(out), failed)
}
