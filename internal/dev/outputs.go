package dev

import (
	"maps"
	"os"
	"slices"

	"bulkhead/internal/watch"
)

// mostRounds is after how many rounds one after the other in which a file has changed that it is
// taken for an output.
const mostRounds = 3

// outputs tells what builds write from what authors do: else a build that writes among its own
// sources would be the cause of the next, and so on.
type outputs struct {
	rounds map[string]int // in how many rounds one after the other a file has changed
	known  map[string]bool
}

// Base is the state with which the next change is compared: before is from before a round, and now
// from after it. What the author has written during the round differs from it, and what builds have
// written does not: the modules, what has the content that it had, and what has changed during
// round after round. New are the files that are taken for outputs from this round on.
func (w *Workshop) Base(before, now watch.State) (base watch.State, found []string) {
	o := &w.outputs
	base = maps.Clone(now)
	rounds := make(map[string]int)
	for _, path := range watch.Changed(before, now, true) {
		if slices.ContainsFunc(w.handlers, func(h *Handler) bool { return h.Plugin == path && h.wrote == now[path].Content }) {
			continue
		}
		if _, watched := now[path]; !watched {
			if _, err := os.Lstat(path); err == nil {
				continue // it is nobody's any more, and has not gone
			}
		}
		rounds[path] = o.rounds[path] + 1
		if rounds[path] >= mostRounds && !o.known[path] {
			if o.known == nil {
				o.known = make(map[string]bool)
			}
			o.known[path] = true
			found = append(found, path)
		}
		if o.known[path] {
			continue
		}
		if was, ok := before[path]; ok {
			base[path] = was
		} else {
			delete(base, path)
		}
	}
	o.rounds = rounds
	return base, found
}
