package wasi

// Type is the type of a parameter or result.
type Type byte

// The types in use.
const (
	I32 Type = iota
	I64
)

// Func is one function of preview 1.
type Func struct {
	Name    string
	Params  []Type
	Results []Type

	// Call runs it: the parameters are in stack, and the result is put into
	// stack[0]. It panics with *sys.ExitError for proc_exit, and with whatever
	// System.Enter panics with.
	Call func(p *Process, stack []uint64)

	// TakesLong reports whether it goes over a list of the guest's, and so may take longer
	// than a call is charged for.
	TakesLong bool
}

// signature reads "iIi:i": i for i32, I for i64, the results behind the colon.
func signature(s string) (params, results []Type) {
	to := &params
	for _, c := range s {
		switch c {
		case 'i':
			*to = append(*to, I32)
		case 'I':
			*to = append(*to, I64)
		case ':':
			to = &results
		}
	}
	return params, results
}

func fn(name, sig string, do func(p *Process, s []uint64) Errno) Func {
	params, results := signature(sig)
	return Func{Name: name, Params: params, Results: results, Call: func(p *Process, s []uint64) {
		p.System.Enter()
		for i, t := range params {
			if t == I32 {
				s[i] = uint64(uint32(s[i])) // what stands above is what was there before
			}
		}
		e := do(p, s)
		if len(results) > 0 {
			s[0] = uint64(e)
		}
	}}
}

// long is f, which may take long.
func long(f Func) Func {
	f.TakesLong = true
	return f
}

func answers(e Errno) func(*Process, []uint64) Errno {
	return func(*Process, []uint64) Errno { return e }
}

// Functions returns the table of preview 1.
func Functions() []Func {
	return []Func{
		fn("args_get", "ii:i", stringsGet(args)),
		fn("args_sizes_get", "ii:i", stringsSizes(args)),
		fn("environ_get", "ii:i", stringsGet(environ)),
		fn("environ_sizes_get", "ii:i", stringsSizes(environ)),
		fn("clock_res_get", "ii:i", clockRes),
		fn("clock_time_get", "iIi:i", clockTime),
		fn("fd_advise", "iIIi:i", onFile(SeekPipe, advise)),
		fn("fd_allocate", "iII:i", onFile(Inval, fileError(Badf))),
		fn("fd_close", "i:i", onOpen(fdClose)),
		fn("fd_datasync", "i:i", onFile(Inval, fileError(Success))),
		fn("fd_fdstat_get", "ii:i", fdStat),
		fn("fd_fdstat_set_flags", "ii:i", onOpen(setFlags)),
		fn("fd_fdstat_set_rights", "iII:i", onOpen(setRights)),
		fn("fd_filestat_get", "ii:i", fileStat),
		fn("fd_filestat_set_size", "iI:i", onFile(Inval, fileError(Inval))),
		fn("fd_filestat_set_times", "iIIi:i", onFile(NotCapable, setTimes)),
		long(fn("fd_pread", "iiiIi:i", onFile(SeekPipe, pread))),
		fn("fd_prestat_get", "ii:i", prestat),
		fn("fd_prestat_dir_name", "iii:i", prestatName),
		long(fn("fd_pwrite", "iiiIi:i", onFile(SeekPipe, fileError(Badf)))),
		long(fn("fd_read", "iiii:i", fdRead)),
		fn("fd_readdir", "iiiIi:i", onFile(NotDir, readdir)),
		fn("fd_renumber", "ii:i", onOpen(renumber)),
		fn("fd_seek", "iIii:i", onFile(SeekPipe, seek)),
		fn("fd_sync", "i:i", onFile(Inval, fileError(Success))),
		fn("fd_tell", "ii:i", onFile(SeekPipe, tell)),
		long(fn("fd_write", "iiii:i", fdWrite)),
		fn("path_create_directory", "iii:i", onFolder(1, newName)),
		fn("path_filestat_get", "iiiii:i", onFolder(2, pathStat)),
		fn("path_filestat_set_times", "iiiiIIi:i", onFolder(2, pathSetTimes)),
		fn("path_link", "iiiiiii:i", onFolder(2, link)),
		fn("path_open", "iiiiiIIii:i", onFolder(2, pathOpen)),
		fn("path_readlink", "iiiiii:i", onFolder(1, readLink)),
		fn("path_remove_directory", "iii:i", onFolder(1, readOnly)),
		fn("path_rename", "iiiiii:i", onFolder(1, rename)),
		fn("path_symlink", "iiiii:i", symlink),
		fn("path_unlink_file", "iii:i", onFolder(1, readOnly)),
		long(fn("poll_oneoff", "iiii:i", pollOneoff)),
		fn("proc_exit", "i", procExit),
		fn("proc_raise", "i:i", answers(NoSys)),
		fn("random_get", "ii:i", randomGet),
		fn("sched_yield", ":i", schedYield),
		fn("sock_accept", "iii:i", onFile(NotSock, fileError(NotSock))),
		fn("sock_recv", "iiiiii:i", onFile(NotSock, fileError(NotSock))),
		fn("sock_send", "iiiii:i", onFile(NotSock, fileError(NotSock))),
		fn("sock_shutdown", "ii:i", onFile(NotSock, fileError(NotSock))),
	}
}
