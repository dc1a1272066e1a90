package main

import (
	"log/slog"
	"runtime/debug"

	"bulkhead/host/shares"
)

// limitMemory says whether the tenants' memory fits, and has the garbage collector keep Go's heap
// within what it leaves. given is GOMEMLIMIT, which Go's runtime has read already when it is not
// empty, and which holds then.
func limitMemory(p shares.MemoryPlan, given string, log *slog.Logger) {
	said := p.Logged()
	switch {
	case given != "":
		said = append(said, "GOMEMLIMIT", given)
	case p.Heap > 0:
		debug.SetMemoryLimit(p.Heap)
		said = append(said, "heap_limit", shares.Size(p.Heap))
	}
	if !p.Fits() {
		log.Warn("the tenants' memory is more than there is: "+p.Mend(), said...)
		return
	}
	log.Info("the memory of all tenants", said...)
}
