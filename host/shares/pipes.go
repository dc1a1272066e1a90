package shares

import (
	"cmp"
	"fmt"

	"bulkhead/csa"
	"bulkhead/host/budget"
	"bulkhead/host/config"
	"bulkhead/host/machine"
)

// defaultPipes is how many pipes all relays hold where nothing else is said: 256 MiB of the
// kernel's memory, when all are full.
const defaultPipes = 1024

// mostIdlePipes is how many pipes a loop keeps between uses at most.
const mostIdlePipes = 64

// pipeLimits is how many pipes relays may hold together, and how many each of some loops may keep
// between uses, in a process that may have so many descriptors. want zero or less is 1024. Less
// than a tenth of the descriptors goes to pipes: they only save copying.
func pipeLimits(want, descriptors, loops int) (held, idle int) {
	if csa.PipeDescriptors == 0 {
		return 0, 0
	}
	if want <= 0 {
		want = defaultPipes
	}
	held = min(want, descriptors/16/max(csa.PipeDescriptors, 1))
	return held, min(mostIdlePipes, held/2/loops)
}

// Pipes are the limits of a configuration here, and how many descriptors they take.
func Pipes(cfg *config.Config) (held, idle, descriptors int) {
	loops := Loops(cfg)
	held, idle = pipeLimits(cfg.Host.Pipes, machine.Descriptors(), loops)
	return held, idle, (held + idle*loops) * csa.PipeDescriptors
}

// pipeLine says in one line how pipes are shared out.
func pipeLine(cfg *config.Config) string {
	if csa.PipeDescriptors == 0 {
		return "Pipes of relays: this system has none; relays copy."
	}
	held, _, _ := Pipes(cfg)
	p := budget.NewPool(held, len(cfg.Tenants))
	less := ""
	if want := cmp.Or(max(cfg.Host.Pipes, 0), defaultPipes); held < want {
		less = fmt.Sprintf(", less than the %d of [host] pipes since RLIMIT_NOFILE is %d", want, machine.Descriptors())
	}
	return fmt.Sprintf("Pipes of relays: %d for all tenants%s, %d for each in any case.", p.Limit(), less, p.Part())
}
