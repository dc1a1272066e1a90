package zoo

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"bulkhead/abi"
	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/awaittest"
	"bulkhead/internal/hosttest"
)

// harm is what testdata/hostile does when it is told to: what, in one of its callbacks, and what
// the log has to say of it, as a regular expression.
type harm struct {
	what, where string
	said        string
	// stopped: event_timeout may end it.
	stopped bool
}

// harms are those of all languages. The floods of the log are the last, since they use up what the
// tenant may log.
func harms() (all []harm) {
	for _, where := range []string{"line", "eof", "timer", "writable", "closed", "later"} {
		calls := map[string]string{"later": "(setTimeout|after)"}[where]
		if calls == "" {
			calls = where
		}
		all = append(all,
			harm{"throw", where, `level=ERROR .*` + calls + ` of 127[.]0[.]0[.]1:.*hostile[.](js|lua|py):\d`, false},
			harm{"spin", where, "", true})
	}
	memory := "(out of memory|string too long|not enough memory|MemoryError)"
	deep := "(stack overflow|recursion depth)"
	return append(all,
		harm{"arrays", "line", memory, false},
		harm{"texts", "line", memory, false},
		harm{"recursion", "line", deep, false},
		harm{"search", "line", "", true},
		harm{"sends", "line", "beyond queue_?[lL]imit", false},
		harm{"counts", "line", "count: QUOTA", false},
		harm{"timeouts", "line", "timeouts wait already", false},
		harm{"timers", "line", "timer", false},
		harm{"dials", "line", "", true},
		harm{"forbidden", "line", "dial tcp://192.0.2.1:1: DENIED", false},
		harm{"nesting", "line", "level=ERROR", false},
		harm{"wide", "line", memory, false},
		harm{"cycle", "line", "level=ERROR", false},
		harm{"tasks", "line", "it cannot be told|" + deep + "|" + memory, true},
		harm{"logs", "line", "", true},
	)
}

// scriptSpin is the event_timeout of what is to be stopped. To load a script takes longer on a busy
// machine, so that it is set later.
const scriptSpin = 40 * time.Millisecond

// badStarts are what the hostile script does when it is loaded, of a listener each.
var badStarts = []string{"spin", "arrays", "recursion", "throw"}

// language is one, whose scripts' names end with ending. In it one tenant has a hostile script, and
// another has one on the same engine that is its neighbour.
type language struct{ ending string }

func (l language) hostile() string   { return "hostile-" + l.ending }
func (l language) neighbour() string { return "neighbour-" + l.ending }

// secret is the neighbour's.
func (l language) secret() string { return "secret-of-" + l.ending + "-" }

// toml is both tenants with their listeners, and with those whose hostile script does its harm when
// it is loaded. spin is the event_timeout where it is to be stopped.
func (l language) toml(t *testing.T, spin time.Duration, starts ...string) string {
	var all strings.Builder
	fmt.Fprintf(&all, `
[tenant.%s]
memory = "12MiB"
connect = ["127.0.0.1:*"]
timers = 64
log_lines = 1000
accept_rate = 10000
[tenant.%s]
memory = "8MiB"
accept_rate = 10000
log_lines = 10000
`, l.hostile(), l.neighbour())
	add := func(tenant, script, name, more string) {
		path, err := filepath.Abs(filepath.Join("testdata", script+"."+l.ending))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&all, "[[listener]]\nname = %q\ntenant = %q\naddress = \"tcp://127.0.0.1:0\"\nplugin = %q\ninbox = \"16KiB\"\nsend_buffer = \"8KiB\"\n%s\n",
			tenant+"-"+name, tenant, path, more)
	}
	const long = "event_timeout = \"1m\""
	brief := fmt.Sprintf("event_timeout = %q", spin)
	add(l.hostile(), "hostile", "brief", brief)
	add(l.hostile(), "hostile", "long", long)
	add(l.hostile(), "hostile", "shared", "event_timeout = \"400ms\"\ninstance = \"listener\"")
	add(l.hostile(), "hostile", "open-spin", brief+"\nconfig = { open = \"spin\" }")
	add(l.hostile(), "hostile", "open-throw", long+"\nconfig = { open = \"throw\" }")
	for _, what := range starts {
		add(l.hostile(), "hostile", "start-"+what, fmt.Sprintf("event_timeout = \"150ms\"\nconfig = { start = %q }", what))
	}
	for _, instance := range []string{"connection", "listener"} {
		add(l.neighbour(), "neighbour", instance, fmt.Sprintf("%s\ninstance = %q\nconfig = { secret = %q }", long, instance, l.secret()))
	}
	return all.String()
}

// Scripts in each language do what they can to harm others. They are stopped or told of, and the
// neighbour, whose script runs on the same engine and in the same loop, is served all the time,
// loses nothing, pays for nothing and learns nothing.
func TestHostileScripts(t *testing.T) {
	log := &book{}
	h := hosttest.Serve(t, (&street{}).file(t, time.Minute), host.Options{Log: slog.New(slog.NewTextHandler(log, nil))})
	var streets []*street
	for _, l := range languages {
		v := &street{t: t, language: l, h: h, log: log}
		v.neighbour, v.answers = v.dialNeighbour("listener")
		v.ask()
		streets = append(streets, v)
	}
	if err := streets[0].reload(t, scriptSpin); err != nil {
		t.Fatal(err)
	}
	for _, v := range streets {
		v.in(v.ending, v.all)
	}
	for _, v := range streets { // the last, since they take all the time that there is
		v.in(v.ending+" without end", v.endless)
	}
}

// languages are those that there are engines for.
var languages = []language{{"js"}, {"lua"}, {"py"}}

// file is the configuration of all of them. starts are of the street's language.
func (v *street) file(t *testing.T, spin time.Duration, starts ...string) string {
	toml := fmt.Sprintf("[host]\nstate = %q\nloops = 1\ndrain = \"50ms\"\n", hosttest.State())
	for _, l := range languages {
		if l == v.language {
			toml += l.toml(t, spin, starts...)
		} else {
			toml += l.toml(t, spin)
		}
	}
	return toml
}

// street is a client of the hostile script and of its neighbour, in one language.
type street struct {
	t *testing.T
	language
	h         *host.Host
	log       *book
	neighbour net.Conn // to the instance that is asked again and again
	answers   *bufio.Reader
	asked     int // that instance
	fresh     int // and how many others
}

func (v *street) dialNeighbour(instance string) (net.Conn, *bufio.Reader) {
	c := hosttest.Dial(v.t, v.h.Addr(v.language.neighbour()+"-"+instance))
	return c, bufio.NewReader(c)
}

// ask asks the neighbours, which say what they know.
func (v *street) ask() {
	v.t.Helper()
	hear := func(c net.Conn, answers *bufio.Reader, asked int) {
		v.t.Helper()
		_ = c.SetDeadline(awaittest.Deadline())
		hosttest.Say(v.t, c, "?\n")
		want := fmt.Sprintf("%s %s %d \n", v.secret(), v.language.neighbour(), asked)
		if line, err := answers.ReadString('\n'); line != want {
			v.t.Fatalf("the neighbour says %q, %v; want %q", line, err, want)
		}
	}
	v.asked++
	hear(v.neighbour, v.answers, v.asked)
	v.fresh++
	c, answers := v.dialNeighbour("connection")
	hear(c, answers, 1)
	c.Close()
}

// stops is how often event_timeout has stopped the hostile script of a listener.
func (v *street) stops(listener string) int64 {
	return find(v.h.Stats(), v.hostile()+"-"+listener).LimitStops
}

// provoke has the hostile script do its harm, and wants the end of that and what is said of it.
func (v *street) provoke(listener string, harm harm) {
	v.t.Helper()
	stops, before := v.stops(listener), len(v.log.about(v.hostile()))
	c := hosttest.Dial(v.t, v.h.Addr(v.hostile()+"-"+listener))
	_, err := fmt.Fprintf(c, "%s %s\n", harm.what, harm.where)
	if harm.where == "eof" {
		err = errors.Join(err, c.CloseWrite())
	}
	if err != nil && harm.where != "open" { // which closes it at once
		v.t.Fatal(err)
	}
	v.ask()
	(&cage{t: v.t, log: v.log.String}).ends(c)
	c.Close()
	said := regexp.MustCompile(harm.said)
	hosttest.Eventually(v.t, "it is stopped, or the log says "+harm.said, func() bool {
		if harm.stopped && v.stops(listener) > stops {
			return true
		}
		return harm.said != "" && said.MatchString(v.log.about(v.hostile())[before:])
	})
	v.ask()
}

// in is the same with another test.
func (v *street) in(name string, do func()) {
	outer := v.t
	outer.Run(name, func(t *testing.T) {
		v.t = t
		defer func() { v.t = outer }()
		do()
	})
}

// all of the harm, and what it leaves behind.
func (v *street) all() {
	for _, harm := range harms() {
		v.in(harm.what+"/"+harm.where, func() {
			if harm.stopped {
				v.provoke("brief", harm)
			} else {
				v.provoke("long", harm)
			}
		})
	}
	v.in("throw/open", func() { v.provoke("open-throw", harm{where: "open", said: "open of 127[.]0[.]0[.]1:"}) })
	v.in("spin/open", func() { v.provoke("open-spin", harm{where: "open", stopped: true}) })
	v.in("shared", v.shared)
	v.in("start", v.badStarts)
	v.in("accounts", v.accounts)
}

// shared provokes an instance that serves several connections: an error ends its own, and
// event_timeout the instance.
func (v *street) shared() {
	dial := func() net.Conn {
		c := hosttest.Dial(v.t, v.h.Addr(v.hostile()+"-shared"))
		hosttest.Say(v.t, c, "?\n")
		hosttest.Hear(v.t, c, "tame\n")
		return c
	}
	other := dial()
	v.provoke("shared", harm{"throw", "line", "line of 127[.]0[.]0[.]1:", false})
	hosttest.Say(v.t, other, "?\n")
	hosttest.Hear(v.t, other, "tame\n")
	v.provoke("shared", harm{"spin", "line", "", true})
	(&cage{t: v.t, log: v.log.String}).ends(other)
	other.Close()
	dial().Close() // another instance
}

// reload has the host serve another file.
func (v *street) reload(t *testing.T, spin time.Duration, starts ...string) error {
	cfg, err := config.Load(hosttest.WriteConfig(t, v.file(t, spin, starts...)))
	if err != nil {
		t.Fatal(err)
	}
	return v.h.Reload(t.Context(), cfg)
}

// badStarts has a reload bring scripts that do their harm when they are loaded. It is refused.
func (v *street) badStarts() {
	err := v.reload(v.t, scriptSpin, badStarts...)
	for _, what := range badStarts {
		if want := fmt.Sprintf("listener %q: hostile.%s: ", v.hostile()+"-start-"+what, v.ending); err == nil || !strings.Contains(err.Error(), want) {
			v.t.Errorf("the reload fails with\n%v\nwant %s", err, want)
		}
	}
	v.ask()
}

// endless leaves a script that spins for longer than the test may take, in the loop that serves the
// neighbour, too. The end of the host ends it.
func (v *street) endless() {
	c := hosttest.Dial(v.t, v.h.Addr(v.hostile()+"-long"))
	hosttest.Say(v.t, c, "spin line\n")
	hosttest.Eventually(v.t, "it spins", func() bool { return find(v.h.Stats(), v.hostile()).BackgroundRunning > 0 })
	for range 3 {
		v.ask()
	}
	if n := find(v.h.Stats(), v.hostile()).BackgroundRunning; n != 1 {
		v.t.Errorf("%d calls spin", n)
	}
}

// accounts are what each has to pay for.
func (v *street) accounts() {
	bad, good := find(v.h.Stats(), v.hostile()), find(v.h.Stats(), v.language.neighbour())
	if bad.Memory > bad.MemoryLimit || bad.MemoryRefused == 0 || bad.TimersRefused == 0 && bad.Timers > 64 || bad.Fuel < good.Fuel {
		v.t.Errorf("the hostile tenant is %+v", bad.TenantStats)
	}
	if bad.Counts["asked"] != 0 || len(bad.Counts) != abi.MaxMetrics {
		v.t.Errorf("the hostile tenant has counted %d names, %v", len(bad.Counts), bad.Counts)
	}
	asked := int64(v.asked + v.fresh)
	if good.Memory > good.MemoryLimit || good.MemoryRefused+good.TimersRefused+good.DialsRefused+good.CountsRefused+good.LogLinesDropped != 0 ||
		len(good.Counts) != 1 || good.Counts["asked"] != asked {
		v.t.Errorf("the neighbour was asked %d times, and is %+v", asked, good.TenantStats)
	}
	for _, l := range v.h.Stats().Listeners {
		if l.Tenant == v.language.neighbour() && l.Traps+l.LimitStops+l.StartFailures != 0 {
			v.t.Errorf("the neighbour is %+v", l)
		}
	}
	if strings.Contains(v.log.about(v.hostile()), v.secret()) {
		v.t.Error("the hostile tenant's log has what its neighbour knows")
	}
	if said := v.log.about(v.language.neighbour()); strings.Contains(said, "hostile") || strings.Count(said, "text="+v.secret()) != int(asked) {
		v.t.Errorf("the neighbour's log has not its own lines alone:\n%s", said)
	}
}
