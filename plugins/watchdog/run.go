package watchdog

// run looks who runs until stopping is set. On Linux it runs outside Go's scheduler: see
// entersyscall there for what it may not do.
//
//go:nosplit
//go:norace
func run(all []place) {
	var p pace
	for stopping.Load() == 0 {
		if p.idle {
			sleeping.Store(1)
			// Who has entered since the last look may not have seen that.
			if !look(all, false).running && stopping.Load() == 0 {
				doze()
			}
			sleeping.Store(0)
		}
		nap(p.next())
		found := look(all, false)
		if found.running {
			nap(Again)
			again := look(all, true)
			again.entered = again.entered || found.entered
			found = again
		}
		p.note(found)
	}
}
