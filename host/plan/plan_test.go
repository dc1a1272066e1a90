package plan

import (
	"slices"
	"strings"
	"testing"

	"bulkhead/host/config"
)

// A listener keeps its sockets while its address is the same; what is left goes to who wants that
// address.
func TestSockets(t *testing.T) {
	at := func(name, host string) Place { return Place{Listener: name, Network: "tcp", Host: host} }
	unchanged := func(name, host string) Place { p := at(name, host); p.Unchanged = true; return p }
	before := []Place{at("a", "h:1"), at("b", "h:2"), at("c", "h:0")}
	for _, c := range []struct {
		why  string
		now  []Place
		want []int
	}{
		{"nothing differs", []Place{unchanged("a", "h:1"), unchanged("b", "h:2"), unchanged("c", "h:0")}, []int{0, 1, 2}},
		{"others have handlers of their own", []Place{at("c", "h:0"), at("a", "h:1")}, []int{2, 0}},
		{"two change places", []Place{at("a", "h:2"), at("b", "h:1")}, []int{1, 0}},
		{"one is renamed", []Place{at("new", "h:2"), at("a", "h:1")}, []int{1, 0}},
		{"one who stays is not robbed", []Place{at("new", "h:1"), unchanged("a", "h:1")}, []int{-1, 0}},
		{"one who is first takes it", []Place{at("new", "h:2"), at("newer", "h:2")}, []int{1, -1}},
		{"port 0 is another port for another listener", []Place{at("new", "h:0")}, []int{-1}},
		{"a network is part of it", []Place{{Listener: "new", Network: "udp", Host: "h:1"}}, []int{-1}},
		{"it moves", []Place{at("a", "h:9")}, []int{-1}},
		{"nothing is left", nil, []int{}},
	} {
		if got := Sockets(c.now, before); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v; want %v", c.why, got, c.want)
		}
	}
}

func TestTenant(t *testing.T) {
	before := config.DefaultTenant("acme")
	for _, c := range []struct {
		why      string
		change   func(t *config.Tenant)
		inForce  bool
		want     Effect
		keys     []string
		renewing []string
	}{
		{"nothing differs", func(*config.Tenant) {}, true, Same, nil, nil},
		{"a limit", func(t *config.Tenant) { t.Timers++ }, true, InPlace, []string{"timers"}, nil},
		{"what instances have from their start", func(t *config.Tenant) { t.Timers++; t.Stack *= 2 }, true, NewGeneration, []string{"stack", "timers"}, []string{"stack"}},
		{"it comes back", func(*config.Tenant) {}, false, Added, nil, nil},
		{"it comes back with another stack", func(t *config.Tenant) { t.Stack *= 2 }, false, Added, []string{"stack"}, []string{"stack"}},
	} {
		now := config.DefaultTenant("acme")
		c.change(&now)
		got, renewing := Tenant(&now, &before, c.inForce)
		if got.Of != "tenant" || got.Name != "acme" || got.What != c.want || !slices.Equal(got.Keys, c.keys) || !slices.Equal(renewing, c.renewing) {
			t.Errorf("%s: %+v, renewing %v", c.why, got, renewing)
		}
	}
	if got, renewing := Tenant(&before, nil, false); got.What != Added || got.Keys != nil || renewing != nil {
		t.Errorf("a new one: %+v, %v", got, renewing)
	}
}

// What needs a restart is an error with its line; what does not, is a change.
func TestHost(t *testing.T) {
	before := &config.Config{File: "a.toml", Host: config.DefaultHost("/nowhere")}
	now := *before
	if changes, errs := Host(&now, before); changes != nil || errs != nil {
		t.Errorf("nothing differs: %v, %v", changes, errs)
	}
	now.Host.Drain *= 2
	changes, errs := Host(&now, before)
	if errs != nil || len(changes) != 1 || changes[0].What != InPlace || !slices.Equal(changes[0].Keys, []string{"drain"}) {
		t.Errorf("drain: %+v, %v", changes, errs)
	}
	if !Anything(changes) || Anything([]Change{{What: Same}}) || Anything(nil) {
		t.Error("it is not known whether anything changes")
	}
	now.Host.Loops++
	if _, errs = Host(&now, before); len(errs) != 1 || !strings.HasPrefix(errs.Error(), "a.toml:1: [host] loops has changed") {
		t.Errorf("loops: %v", errs)
	}
}
