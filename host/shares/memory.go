package shares

import (
	"fmt"

	"bulkhead/host/config"
	"bulkhead/host/machine"
)

// MemoryPlan sets the memory of all tenants against what there is. All sizes are bytes.
type MemoryPlan struct {
	Tenants int
	Budgets int64 // the sum of the tenants' memory and socket_memory
	// Have is what the machine has, or what the process's cgroup is allowed, and Source which
	// of them says so. Zero: the system does not tell.
	Have   int64
	Source string
	// Heap is how much Go's runtime should use at most (debug.SetMemoryLimit): what is left
	// beside the budgets and a sixteenth for the system's own, and at least a quarter of Have.
	// Zero when Have is.
	Heap int64
}

// PlanMemory is the plan for a configuration on this machine. It changes nothing: a program that
// wants the Heap of it kept has to set that.
func PlanMemory(cfg *config.Config) MemoryPlan {
	m, _ := machine.FindMemory()
	return planMemory(cfg, m)
}

func planMemory(cfg *config.Config, m machine.Memory) MemoryPlan {
	p := MemoryPlan{Tenants: len(cfg.Tenants), Have: m.Bytes, Source: m.Source}
	for _, t := range cfg.Tenants {
		p.Budgets += t.Memory + t.SocketMemory
	}
	if p.Have > 0 {
		p.Heap = max(p.Have-p.Have/16-p.Budgets, p.Have/4)
	}
	return p
}

// Fits reports whether all tenants can have their memory at once, as far as is known.
func (p MemoryPlan) Fits() bool { return p.Have == 0 || p.Budgets <= p.Have }

// String says it in one line.
func (p MemoryPlan) String() string {
	switch {
	case p.Have == 0:
		return fmt.Sprintf("Memory: the budgets of all tenants (%d) are %s together; how much there is the system does not tell.", p.Tenants, Size(p.Budgets))
	case p.Fits():
		return fmt.Sprintf("Memory: the budgets of all tenants (%d) are %s together, of %s (%s); Go's heap has a limit of %s, unless GOMEMLIMIT is set.",
			p.Tenants, Size(p.Budgets), Size(p.Have), p.Source, Size(p.Heap))
	}
	return fmt.Sprintf("Memory: the budgets of all tenants (%d) are %s together, MORE than the %s there are (%s): %s. Go's heap has a limit of %s, unless GOMEMLIMIT is set.",
		p.Tenants, Size(p.Budgets), Size(p.Have), p.Source, p.Mend(), Size(p.Heap))
}

// Mend is what to do about a plan that does not fit.
func (MemoryPlan) Mend() string {
	return "when tenants use what they may, the system ends this process; lower memory in [tenant.NAME], or give it more"
}

// Logged are the attributes of a line of the log about the plan.
func (p MemoryPlan) Logged() []any {
	said := []any{"tenants", p.Tenants, "budgets", Size(p.Budgets)}
	if p.Have > 0 {
		said = append(said, "have", Size(p.Have), "source", p.Source)
	}
	return said
}

// Size writes so many bytes, not negative, for people: in binary units, with one decimal.
func Size(n int64) string {
	const kib = 1 << 10
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	size, unit := float64(n), 0
	for size >= kib && unit < len(units)-1 {
		size /= kib
		unit++
	}
	if size == float64(int64(size)) {
		return fmt.Sprintf("%d%s", int64(size), units[unit])
	}
	return fmt.Sprintf("%.1f%s", size, units[unit])
}
