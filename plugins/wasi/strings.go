package wasi

// stringsGet writes strings, each with a zero behind it, and a list of where they are.
func stringsGet(of func(*Process) []string) func(*Process, []uint64) Errno {
	return func(p *Process, s []uint64) Errno {
		all := of(p)
		memory := p.System.Memory()
		list, text := at(memory, uint32(s[0]), uint32(4*len(all))), at(memory, uint32(s[1]), bytesOf(all))
		if list == nil || text == nil {
			return Fault
		}
		where := uint32(s[1])
		for i, one := range all {
			le.PutUint32(list[4*i:], where)
			n := copy(text, one)
			text[n] = 0
			text = text[n+1:]
			where += uint32(n + 1)
		}
		return Success
	}
}

// stringsSizes says how many strings there are, and how many bytes they take.
func stringsSizes(of func(*Process) []string) func(*Process, []uint64) Errno {
	return func(p *Process, s []uint64) Errno {
		memory := p.System.Memory()
		count, size := at(memory, uint32(s[0]), 4), at(memory, uint32(s[1]), 4)
		if count == nil || size == nil {
			return Fault
		}
		all := of(p)
		le.PutUint32(count, uint32(len(all)))
		le.PutUint32(size, bytesOf(all))
		return Success
	}
}

func bytesOf(all []string) (n uint32) {
	for _, s := range all {
		n += uint32(len(s) + 1)
	}
	return n
}

func args(p *Process) []string    { return p.Args }
func environ(p *Process) []string { return p.Env }
