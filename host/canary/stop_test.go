package canary

import (
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"

	"bulkhead/host"
	"bulkhead/internal/hosttest"
)

// A host that stops while calls run beside its loops, on copies that others have used
// before and will not use again, leaves nothing: no mapping, no descriptor, no goroutine.
func TestStoppedInTheMiddleOfCalls(t *testing.T) {
	all := sites()[:3]
	for _, s := range all {
		s.more = `event_timeout = "1m"`
	}
	start := process() // with the engines that hosts of this process share, if there are scripts
	var before holdings
	for round := range 6 {
		t.Run("", func(t *testing.T) {
			dir := shortFolder(t)
			log := &bugs{}
			h := hosttest.Serve(t, strings.Replace(hostTable(2), `"5s"`, `"10ms"`, 1)+roomy("roomy")+write(t, dir, "roomy", all...), host.Options{Log: slog.New(log)})
			c := &crowd{t: t, ended: make(map[string]int)}
			c.left.Store(200)
			for n := range 8 {
				c.run(uint64(round*100+n), all, quickWays())
			}
			c.all.Wait()
			var open []*visitor
			rng := rand.New(rand.NewPCG(uint64(round), 5))
			for n := range 12 {
				s := all[n%len(all)]
				v, err := meet(s, rng)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { v.conn.Close() })
				if err := v.answered(); err != nil {
					t.Fatal(err)
				}
				open = append(open, v)
			}
			for n, v := range open {
				// Some run, some wait for a place, some have nothing to do.
				if n%4 != 3 {
					if err := v.say(doSpin, 0, 1); err != nil {
						t.Fatal(err)
					}
				}
			}
			hosttest.Eventually(t, "some calls run beside the loops", func() bool { return h.Stats().Tenants[0].BackgroundRunning >= 2 })
			h.Close()
			for _, v := range open {
				b, err := v.toEnd(reportSize)
				if err == nil {
					err = v.mine(b)
				}
				if err != nil {
					t.Error(err)
				}
			}
			log.none(t)
		})
		if round == 0 {
			before = process()
		}
		hosttest.Eventually(t, "nothing is left of it", func() bool {
			now := process()
			return now.copies <= start.copies && now.descriptors <= before.descriptors && now.goroutines <= before.goroutines
		})
	}
}
