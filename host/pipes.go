package host

import (
	"cmp"
	"fmt"
	"runtime"

	"bulkhead/csa"
	"bulkhead/host/budget"
	"bulkhead/host/config"

	"golang.org/x/sys/unix"
)

// defaultPipes is how many pipes all relays hold where nothing else is said: 256 MiB of the
// kernel's memory, when all are full.
const defaultPipes = 1024

// mostIdlePipes is how many pipes a loop keeps between uses at most.
const mostIdlePipes = 64

// pipeLimits is how many pipes relays may hold together, and how many each of some loops may keep
// between uses, in a process that may have so many descriptors. want zero or less is 1024. Less than a
// tenth of the descriptors goes to pipes: they only save copying.
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

// pipesOf are the pipeLimits of a configuration here, and how many descriptors they take.
func pipesOf(cfg *config.Config) (held, idle, descriptors int) {
	loops := loopCount(cfg)
	held, idle = pipeLimits(cfg.Host.Pipes, descriptorLimit(), loops)
	return held, idle, (held + idle*loops) * csa.PipeDescriptors
}

// loopCount is how many loops a configuration has here.
func loopCount(cfg *config.Config) int {
	if cfg.Host.Loops > 0 {
		return cfg.Host.Loops
	}
	return runtime.GOMAXPROCS(0)
}

// noDescriptorLimit is how many descriptors there are where the system does not say.
const noDescriptorLimit = 1 << 30

// descriptorLimit is how many descriptors this process may have.
func descriptorLimit() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return noDescriptorLimit
	}
	return int(min(uint64(limit.Cur), noDescriptorLimit))
}

// pipeShares says in one line how pipes are shared out.
func pipeShares(cfg *config.Config) string {
	if csa.PipeDescriptors == 0 {
		return "Pipes of relays: this system has none; relays copy."
	}
	held, _, _ := pipesOf(cfg)
	p := budget.NewPool(held, len(cfg.Tenants))
	less := ""
	if want := cmp.Or(max(cfg.Host.Pipes, 0), defaultPipes); held < want {
		less = fmt.Sprintf(", less than the %d of [host] pipes since RLIMIT_NOFILE is %d", want, descriptorLimit())
	}
	return fmt.Sprintf("Pipes of relays: %d for all tenants%s, %d for each in any case.", p.Limit(), less, p.Part())
}

// pipeAccount is a tenant's share of the pipes, as csa has it.
type pipeAccount struct{ share *budget.PoolShare }

var _ csa.PipeShare = pipeAccount{}

// TakePipe takes one, or reports false.
func (a pipeAccount) TakePipe() bool { return a.share.Reserve(1) }

// ReturnPipe gives one back.
func (a pipeAccount) ReturnPipe() { a.share.Release(1) }
