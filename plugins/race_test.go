//go:build race

package plugins

// underRace reports that the race detector slows the engine's compiler down
// twentyfold.
const underRace = true
