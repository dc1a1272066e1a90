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
	return Func{name, params, results, func(p *Process, s []uint64) {
		p.System.Enter()
		e := do(p, s)
		if len(results) > 0 {
			s[0] = uint64(e)
		}
	}}
}

func answers(e Errno) func(*Process, []uint64) Errno {
	return func(*Process, []uint64) Errno { return e }
}

// Functions returns the table of preview 1.
func Functions() []Func {
	return []Func{
		fn("args_get", "ii:i", answers(Success)),
		fn("args_sizes_get", "ii:i", noStrings),
		fn("environ_get", "ii:i", answers(Success)),
		fn("environ_sizes_get", "ii:i", noStrings),
		fn("clock_res_get", "ii:i", clockRes),
		fn("clock_time_get", "iIi:i", clockTime),
		fn("fd_advise", "iIIi:i", stream(SeekPipe)),
		fn("fd_allocate", "iII:i", stream(Inval)),
		fn("fd_close", "i:i", fdClose),
		fn("fd_datasync", "i:i", stream(Inval)),
		fn("fd_fdstat_get", "ii:i", fdStat),
		fn("fd_fdstat_set_flags", "ii:i", stream(NoSys)),
		fn("fd_fdstat_set_rights", "iII:i", stream(NotCapable)),
		fn("fd_filestat_get", "ii:i", fileStat),
		fn("fd_filestat_set_size", "iI:i", stream(Inval)),
		fn("fd_filestat_set_times", "iIIi:i", stream(NotCapable)),
		fn("fd_pread", "iiiIi:i", stream(SeekPipe)),
		fn("fd_prestat_get", "ii:i", answers(Badf)),
		fn("fd_prestat_dir_name", "iii:i", answers(Badf)),
		fn("fd_pwrite", "iiiIi:i", stream(SeekPipe)),
		fn("fd_read", "iiii:i", fdRead),
		fn("fd_readdir", "iiiIi:i", answers(Badf)),
		fn("fd_renumber", "ii:i", answers(Badf)),
		fn("fd_seek", "iIii:i", stream(SeekPipe)),
		fn("fd_sync", "i:i", stream(Inval)),
		fn("fd_tell", "ii:i", stream(SeekPipe)),
		fn("fd_write", "iiii:i", fdWrite),
		fn("path_create_directory", "iii:i", answers(Badf)),
		fn("path_filestat_get", "iiiii:i", answers(Badf)),
		fn("path_filestat_set_times", "iiiiIIi:i", answers(Badf)),
		fn("path_link", "iiiiiii:i", answers(Badf)),
		fn("path_open", "iiiiiIIii:i", answers(Badf)),
		fn("path_readlink", "iiiiii:i", answers(Badf)),
		fn("path_remove_directory", "iii:i", answers(Badf)),
		fn("path_rename", "iiiiii:i", answers(Badf)),
		fn("path_symlink", "iiiii:i", answers(Badf)),
		fn("path_unlink_file", "iii:i", answers(Badf)),
		fn("poll_oneoff", "iiii:i", pollOneoff),
		fn("proc_exit", "i", procExit),
		fn("proc_raise", "i:i", answers(NoSys)),
		fn("random_get", "ii:i", randomGet),
		fn("sched_yield", ":i", schedYield),
		fn("sock_accept", "iii:i", stream(NotSock)),
		fn("sock_recv", "iiiiii:i", stream(NotSock)),
		fn("sock_send", "iiiii:i", stream(NotSock)),
		fn("sock_shutdown", "ii:i", stream(NotSock)),
	}
}

// stream answers e for the three descriptors, which are streams, and Badf for
// all others.
func stream(e Errno) func(*Process, []uint64) Errno {
	return func(p *Process, s []uint64) Errno {
		if !p.open(uint32(s[0])) {
			return Badf
		}
		return e
	}
}
