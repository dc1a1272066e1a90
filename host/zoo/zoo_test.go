package zoo

import (
	"bytes"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/internal/hosttest"
)

// loopsOf is with how many loops a kind of instance is tried. One is where
// nobody can get out of the animal's way; with two, calls go on beside them.
var loopsOf = map[string][]int{"connection": {1, 2}, "loop": {2}, "listener": {1}, "stdio": {1}}

var baits = flag.Int("baits", 1, "how many clients set off each animal, one after another, that has an instance for each")

// dozens is how many clients come at once where they are a crowd: more than there are places beside
// the loops for what computes, and each spins until it is stopped.
func dozens() int {
	if *everyKind {
		return 64
	}
	return 24
}

var everyKind = flag.Bool("every-kind", false, "have TestEachAnimal try each animal with two loops, too, and on one instance a loop, and 64 clients come where a crowd does")

// One animal after another, beside a neighbour on the same loops. What they leave behind is
// looked at when all have had their turn, since pools keep for a while what may be wanted again.
// With two loops TestTheWholeZoo has them all at once; CI has them here, too.
func TestEachAnimal(t *testing.T) {
	most := 1
	if *everyKind {
		most = 2
	}
	for loops := 1; loops <= most; loops++ {
		t.Run(fmt.Sprint("loops ", loops), func(t *testing.T) { parade(t, loops) })
	}
}

func parade(t *testing.T, loops int) {
	l := newLineup(t, loops)
	var cages []*cage
	for i, a := range animals() {
		for _, mode := range a.modes {
			if slices.Contains(loopsOf[mode], loops) {
				name := fmt.Sprintf("animal%d%s", i, mode)
				l.add(&a, name, mode)
				cages = append(cages, &cage{animal: &a, mode: mode, name: name})
			}
		}
	}
	log := &book{}
	h := hosttest.Serve(t, l.toml.String(), host.Options{
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	n := meetNeighbours(t, h.Addr("neighbour"), loops)
	goroutines, descriptors, copies := runtime.NumGoroutine(), openDescriptors(), mappedCopies()
	collector := collect()
	t.Cleanup(func() { collector.end(); n.leave(t) }) // before the host's, which counts goroutines
	for _, c := range cages {
		c.addr = h.Addr(c.name)
		c.look = func(time.Time) state { return find(h.Stats(), c.name) }
		c.log = func() string { return log.about(c.name) }
		t.Run(c.animal.name+"/"+c.mode, func(t *testing.T) {
			c.t = t
			defer func() {
				if t.Failed() {
					t.Logf("%s", c.log())
				}
			}()
			c.provoke()
			n.more(t)
		})
	}
	for _, c := range cages {
		t.Run(c.animal.name+"/"+c.mode+"/afterwards", func(t *testing.T) {
			c.t = t
			c.leavesNothing()
		})
	}
	if longest := collector.end(); longest > patience {
		t.Errorf("the garbage collector took %v", longest)
	}
	hosttest.Eventually(t, "the goroutines are as many as before", func() bool { return runtime.NumGoroutine() <= goroutines })
	hosttest.Eventually(t, "the descriptors are as many as before", func() bool { return openDescriptors() <= descriptors })
	hosttest.Eventually(t, "the copies of snapshots are as many as before", func() bool { return mappedCopies() <= copies })
	if worst := n.leave(t); worst > patience {
		t.Errorf("the neighbour waited for %v", worst)
	} else {
		t.Logf("the neighbour waited for %v at most", worst)
	}
}

// mappedCopies is how many mappings this process has of snapshots' memories.
func mappedCopies() int {
	maps, _ := os.ReadFile("/proc/self/maps")
	return bytes.Count(maps, []byte("/memfd:bulkhead-snapshot"))
}

// openDescriptors is how many this process has.
func openDescriptors() int {
	list, _ := os.ReadDir("/proc/self/fd")
	return len(list)
}

// collectEvery is the pause between two collections. With the race detector there are some for each
// animal. Without it there is about one: more would be a third of all that the zoo takes.
var collectEvery = func() time.Duration {
	if raceEnabled {
		return 60 * time.Millisecond
	}
	return 250 * time.Millisecond
}()

// collector runs the garbage collector over and over.
type collector struct {
	stop    chan struct{}
	once    sync.Once
	all     sync.WaitGroup
	longest time.Duration
}

func collect() *collector {
	c := &collector{stop: make(chan struct{})}
	c.all.Go(func() {
		tick := time.NewTicker(collectEvery)
		defer tick.Stop()
		for {
			began := time.Now()
			runtime.GC()
			c.longest = max(c.longest, time.Since(began))
			select {
			case <-c.stop:
				return
			case <-tick.C:
			}
		}
	})
	return c
}

// end stops it, once, and returns how long the longest collection took.
func (c *collector) end() time.Duration {
	c.once.Do(func() { close(c.stop) })
	c.all.Wait()
	return c.longest
}
