package zoo

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/host/hosttest"
)

// loopsOf is with how many loops a kind of instance is tried. One is where
// nobody can get out of the animal's way; with two, calls go on beside them.
var loopsOf = map[string][]int{"connection": {1, 2}, "loop": {2}, "listener": {1}, "stdio": {1}}

// Each animal by itself, beside a neighbour on the same loops.
func TestEachAnimal(t *testing.T) {
	for _, a := range animals() {
		for _, mode := range a.modes {
			for _, loops := range loopsOf[mode] {
				t.Run(fmt.Sprintf("%s/%s/%d", a.name, mode, loops), func(t *testing.T) { alone(t, &a, mode, loops) })
			}
		}
	}
}

func alone(t *testing.T, a *animal, mode string, loops int) {
	l := newLineup(t, loops)
	l.add(a, "animal", mode)
	log := &book{}
	h := hosttest.Serve(t, l.toml.String(), host.Options{
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	n := meetNeighbours(t, h.Addr("neighbour"), loops)
	goroutines, descriptors, copies := runtime.NumGoroutine(), openDescriptors(), mappedCopies()
	collector := collect()
	t.Cleanup(func() { collector.end(); n.leave(t) }) // before the host's, which counts goroutines
	c := &cage{
		t: t, animal: a, mode: mode, addr: h.Addr("animal"),
		now: func() state { return find(h.Stats(), "animal") },
		log: func() string { return log.about("animal") },
	}
	defer func() {
		if t.Failed() {
			t.Logf("%s", c.log())
		}
	}()
	c.run()
	n.more(t)
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

// collector runs the garbage collector all the time.
type collector struct {
	stop    chan struct{}
	once    sync.Once
	all     sync.WaitGroup
	longest time.Duration
}

func collect() *collector {
	c := &collector{stop: make(chan struct{})}
	c.all.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
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
