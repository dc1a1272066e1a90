// Package plan says how a configuration differs from the one before it, and what a reload does with
// each difference. It compares values alone: it reads no file, and touches nothing that runs.
package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"bulkhead/host/config"
)

// Effect is what a reload does with something that is configured.
type Effect string

// Effects.
const (
	// Same: nothing differs, and nothing is touched.
	Same Effect = "same"
	// InPlace: what differs holds at once, for what is there.
	InPlace Effect = "in place"
	// NewGeneration: new connections get new handlers, and the old connections keep theirs. Of a
	// tenant: each of its listeners gets a new generation.
	NewGeneration Effect = "new generation"
	// Added: it was not there before.
	Added Effect = "added"
	// Removed: it is no longer there; its connections may go on for a while.
	Removed Effect = "removed"
)

// Change is what a reload does with the host, a tenant or a listener.
type Change struct {
	// Of is "host", "admin", "tenant" or "listener", and Name whose it is, "" for the first two.
	Of   string `json:"of"`
	Name string `json:"name,omitempty"`
	What Effect `json:"what"`
	// Keys names what differs: keys, and tables such as "config". "what FILE holds" stands for the
	// file of a plugin, and "its tenant's KEY" for a key of the tenant that makes a new generation
	// of the listener.
	Keys []string `json:"keys,omitempty"`
	// Draining is how many connections keep their old handlers, including those that handlers have
	// dialled, and OldFor how long they may: the key old_for. Of a removed tenant, Draining is how
	// many connections it has. Both are zero for any other change.
	Draining int           `json:"draining,omitempty"`
	OldFor   time.Duration `json:"old_for_ns,omitempty"`
}

// LogArgs is the change as the arguments of a line of the log.
func (c Change) LogArgs() []any {
	what := strings.Join(c.Keys, ", ")
	switch c.What {
	case Added:
		what = "it is new"
	case Removed:
		what = "it is removed"
	}
	return []any{c.Of, c.Name, "changed", what}
}

// Anything reports whether one of the changes is one.
func Anything(all []Change) bool {
	return slices.ContainsFunc(all, func(c Change) bool { return c.What != Same })
}

// Host compares [host] and [admin], and gives a change for each that differs. There is an error for
// each key that a reload cannot change.
func Host(now, before *config.Config) (changes []Change, errs config.Errors) {
	keys := now.Host.Changes(&before.Host)
	if len(keys) > 0 {
		changes = append(changes, Change{Of: "host", What: InPlace, Keys: keys})
	}
	if keys := now.Admin.Changes(&before.Admin); len(keys) > 0 {
		changes = append(changes, Change{Of: "admin", What: InPlace, Keys: keys})
	}
	for _, key := range keys {
		if now.Host.Reload(key) == config.Restart {
			errs = append(errs, &config.Error{
				File: now.File, Line: max(now.Host.LineOf(key), 1),
				What: fmt.Sprintf("[host] %s has changed, and a reload cannot change it", key), Mend: "put the old value back, or restart",
			})
		}
	}
	return changes, errs
}

// Tenant compares a tenant with what it was; nil: it is new. inForce says that the configuration
// before has it: otherwise it was removed earlier and is not over, and comes back. renewing are
// those of the keys that differ for which its listeners need a new generation.
func Tenant(now, before *config.Tenant, inForce bool) (change Change, renewing []string) {
	change = Change{Of: "tenant", Name: now.Name, What: Added}
	if before == nil {
		return change, nil
	}
	change.Keys = now.Changes(before)
	renewing = slices.DeleteFunc(slices.Clone(change.Keys), func(key string) bool { return now.Reload(key) == config.InPlace })
	switch {
	case !inForce:
	case len(change.Keys) == 0:
		change.What = Same
	case len(renewing) > 0:
		change.What = NewGeneration
	default:
		change.What = InPlace
	}
	return change, renewing
}

// Place is a listener and the address of its sockets.
type Place struct {
	Listener      string
	Network, Host string
	// Unchanged says, of a listener that is to be in force, that it keeps its generation, and so
	// its sockets.
	Unchanged bool
}

func (p Place) at(other Place) bool { return p.Network == other.Network && p.Host == other.Host }

// Sockets says whose sockets each listener goes on with, as an index of those before; -1: it opens
// its own. A listener keeps the sockets that it has as long as its address is the same. Another one
// with that address takes them over where they are left; of an address with port 0 there are others
// each time.
func Sockets(now, before []Place) []int {
	from := make([]int, len(now))
	byName := make(map[string]int, len(before))
	for i := range before {
		byName[before[i].Listener] = i
	}
	taken := make([]bool, len(before))
	for i, p := range now {
		from[i] = -1
		if own, known := byName[p.Listener]; known && (p.Unchanged || p.at(before[own])) {
			from[i], taken[own] = own, true
		}
	}
	// Those that are left, by address, the first first.
	left := make(map[Place][]int)
	for i, p := range before {
		if !taken[i] {
			at := Place{Network: p.Network, Host: p.Host}
			left[at] = append(left[at], i)
		}
	}
	for i, p := range now {
		at := Place{Network: p.Network, Host: p.Host}
		if all := left[at]; from[i] < 0 && len(all) > 0 && !strings.HasSuffix(p.Host, ":0") {
			from[i], left[at] = all[0], all[1:]
		}
	}
	return from
}
