//go:build race

package zoo

// underRace reports that the race detector makes the host's own work several times as dear.
const underRace = true
