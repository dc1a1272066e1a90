package wasi

import (
	"bytes"
	"strings"
	"testing"
)

// These are the cases of the WASI preview 1 test suite (WebAssembly/wasi-testsuite), by its names,
// as whole calls: what a case asserts of a program that has no folder, and of one that has a
// folder. Where a case makes its files itself, they are here from the start; what it writes is
// answered by ROFS, since the folder can only be read. Behind each call stand all the
// answers that the case allows.

// suite is a program whose calls are checked.
type suite struct {
	t *testing.T
	f *fake
	p *Process
}

func newSuite(t *testing.T, files map[string]string) *suite {
	f := &fake{memory: make([]byte, 64<<10), ready: Readable | Writable}
	s := &suite{t, f, f.process()}
	if files != nil {
		folder, err := ReadFolder(writeFolder(t, files), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		s.p.Folder = folder
	}
	return s
}

// calls calls a function and wants one of the answers.
func (s *suite) calls(name string, args []uint64, allowed ...Errno) Errno {
	s.t.Helper()
	stack := stackOf(name, args)
	functions[name].Call(s.p, stack)
	e := Errno(stack[0])
	for _, a := range allowed {
		if e == a {
			return e
		}
	}
	s.t.Errorf("%s%v = %d, and one of %v is right", name, args, e, allowed)
	return e
}

// Where the arguments of calls are: a path, a second one, a result, and a buffer.
const (
	pathAt   = 0
	secondAt = 8 << 10
	outAt    = 16 << 10
	bufferAt = 32 << 10
)

func (s *suite) path(name string) []uint64 {
	copy(s.f.memory[pathAt:], name)
	return []uint64{pathAt, uint64(len(name))}
}

func (s *suite) second(name string) []uint64 {
	copy(s.f.memory[secondAt:], name)
	return []uint64{secondAt, uint64(len(name))}
}

func with(parts ...any) (all []uint64) {
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			all = append(all, uint64(p))
		case uint64:
			all = append(all, p)
		case []uint64:
			all = append(all, p...)
		}
	}
	return all
}

// opens opens a path and wants one of the answers; fd is that of a Success.
func (s *suite) opens(from uint64, look int, name string, how int, rights, inheriting uint64, flags int, allowed ...Errno) (fd uint64) {
	s.t.Helper()
	le.PutUint32(s.f.memory[outAt:], 1<<31)
	e := s.calls("path_open", with(from, look, s.path(name), how, rights, inheriting, flags, outAt), allowed...)
	fd = uint64(le.Uint32(s.f.memory[outAt:]))
	if e == Success && fd < streams {
		s.t.Errorf("opening %q gives descriptor %d", name, fd)
	}
	return fd
}

// stat is a file's description; kind, number, size, modified.
func (s *suite) stat(fd uint64) (kind byte, number, size, modified uint64) {
	s.t.Helper()
	s.calls("fd_filestat_get", with(fd, outAt), Success)
	return s.statAt()
}

func (s *suite) statAt() (kind byte, number, size, modified uint64) {
	b := s.f.memory[outAt:]
	return b[16], le.Uint64(b[8:]), le.Uint64(b[32:]), le.Uint64(b[48:])
}

func (s *suite) statPath(from uint64, look int, name string, allowed ...Errno) (kind byte, number, size, modified uint64) {
	s.t.Helper()
	s.calls("path_filestat_get", with(from, look, s.path(name), outAt), allowed...)
	return s.statAt()
}

func (s *suite) fdstat(fd uint64) (kind byte, flags uint16, base, inheriting uint64) {
	s.t.Helper()
	s.calls("fd_fdstat_get", with(fd, outAt), Success)
	b := s.f.memory[outAt:]
	return b[0], le.Uint16(b[2:]), le.Uint64(b[8:]), le.Uint64(b[16:])
}

// buffers names buffers of these sizes, one behind the other.
func (s *suite) buffers(sizes ...int) []uint64 {
	at := bufferAt
	for i, n := range sizes {
		put32(s.f.memory, secondAt+8*i, uint32(at), uint32(n))
		at += n
	}
	return []uint64{secondAt, uint64(len(sizes))}
}

// root opens the folder once more, as the suite's programs do.
func (s *suite) root() uint64 {
	s.t.Helper()
	_, _, base, inheriting := s.fdstat(preopened)
	return s.opens(preopened, 0, ".", openDirectory, base, inheriting, 0, Success)
}

func want[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// TestSuite has the cases that need no folder.
func TestSuite(t *testing.T) {
	for name, c := range map[string]func(s *suite){
		"args_sizes_get-no-arguments": func(s *suite) {
			s.p.Args = []string{"program"} // which the host always names
			s.calls("args_sizes_get", with(outAt, outAt+4), Success)
			want(s.t, "argc", le.Uint32(s.f.memory[outAt:]), 1)
		},
		"args_get-multiple-arguments": func(s *suite) {
			s.p.Args = []string{"program", "first", "the \"second\" arg", "3"}
			s.calls("args_sizes_get", with(outAt, outAt+4), Success)
			want(s.t, "argc", le.Uint32(s.f.memory[outAt:]), 4)
			want(s.t, "bytes", le.Uint32(s.f.memory[outAt+4:]), uint32(len(strings.Join(s.p.Args, " "))+1))
			s.calls("args_get", with(outAt, bufferAt), Success)
			for i, a := range s.p.Args {
				at := le.Uint32(s.f.memory[outAt+4*i:])
				want(s.t, "an argument", string(s.f.memory[at:at+uint32(len(a))+1]), a+"\x00")
			}
		},
		"environ_get-multiple-variables": func(s *suite) {
			s.p.Env = []string{"a=text", "b=escap \" ing", "c=new\nline"}
			s.calls("environ_sizes_get", with(outAt, outAt+4), Success)
			want(s.t, "variables", le.Uint32(s.f.memory[outAt:]), 3)
			s.calls("environ_get", with(outAt, bufferAt), Success)
			for i, v := range s.p.Env {
				at := le.Uint32(s.f.memory[outAt+4*i:])
				want(s.t, "a variable", string(s.f.memory[at:at+uint32(len(v))+1]), v+"\x00")
			}
		},
		"environ_sizes_get-no-variables": func(s *suite) {
			s.calls("environ_sizes_get", with(outAt, outAt+4), Success)
			want(s.t, "variables and bytes", le.Uint64(s.f.memory[outAt:]), 0)
		},
		"fd_write-to-invalid-fd": func(s *suite) { s.calls("fd_write", with(uint64(1<<32-1), s.buffers(4), outAt), Badf) },
		"fd_write-to-stdout": func(s *suite) {
			copy(s.f.memory[bufferAt:], "hello, world")
			s.calls("fd_write", with(1, s.buffers(7, 5), outAt), Success)
			want(s.t, "written", le.Uint32(s.f.memory[outAt:]), 12)
			want(s.t, "the text", string(s.f.written[1]), "hello, world")
		},
		"clock_getres": func(s *suite) {
			for clock := range 2 {
				s.calls("clock_res_get", with(clock, outAt), Success)
				if le.Uint64(s.f.memory[outAt:]) == 0 {
					s.t.Errorf("clock %d has no resolution", clock)
				}
			}
		},
		"clock_time_get": func(s *suite) {
			s.calls("clock_time_get", with(clockMonotonic, 1, outAt), Success)
			s.calls("clock_time_get", with(clockMonotonic, 0, outAt), Success)
			s.calls("clock_time_get", with(clockMonotonic, 0, outAt+8), Success)
			if le.Uint64(s.f.memory[outAt:]) > le.Uint64(s.f.memory[outAt+8:]) {
				s.t.Error("the monotonic clock goes back")
			}
			s.calls("clock_time_get", with(clockRealtime, 0, outAt), Success)
		},
		"big_random_buf": func(s *suite) {
			s.calls("random_get", with(bufferAt, 16<<10), Success)
			if bytes.Equal(s.f.memory[bufferAt:bufferAt+16<<10], make([]byte, 16<<10)) {
				s.t.Error("nothing is random")
			}
			s.calls("random_get", with(64<<10, 0), Success)
			s.calls("random_get", with(64<<10-1, 2), Fault)
		},
		"sched_yield":              func(s *suite) { s.calls("sched_yield", nil, Success) },
		"sock_shutdown-invalid_fd": func(s *suite) { s.calls("sock_shutdown", with(3, 1), Badf) },
		"sock_shutdown-not_sock":   func(s *suite) { s.calls("sock_shutdown", with(1, 1), NotSock) },
		"poll_oneoff_stdio": func(s *suite) {
			poll := func(n int) (events []string) {
				s.calls("poll_oneoff", with(pathAt, bufferAt, n, outAt), Success)
				for k := range int(le.Uint32(s.f.memory[outAt:])) {
					e := s.f.memory[bufferAt+32*k:]
					want(s.t, "an event's error", Errno(le.Uint16(e[8:])), Success)
					events = append(events, string(rune('a'+le.Uint64(e))))
				}
				return events
			}
			subscribe(s.f.memory, 0, eventClock, clockMonotonic, 200e6, 0)
			subscribe(s.f.memory[48:], 1, eventRead, 0, 0, 0)
			s.f.ready = 0
			want(s.t, "nothing to read", strings.Join(poll(2), ""), "a")
			s.f.ready = Readable
			want(s.t, "something to read", strings.Join(poll(2), ""), "b")
			s.f.ready = Writable
			subscribe(s.f.memory[48:], 1, eventWrite, 1, 0, 0)
			subscribe(s.f.memory[96:], 2, eventWrite, 2, 0, 0)
			if got := strings.Join(poll(3), ""); !strings.Contains(got, "b") && !strings.Contains(got, "c") || strings.Contains(got, "a") {
				s.t.Errorf("with room to write, the events are %s", got)
			}
		},
		"fopen-with-no-access": func(s *suite) {
			s.calls("fd_prestat_get", with(3, outAt), Badf)
			s.opens(3, followed, "file", 0, rightRead, 0, 0, Badf)
		},
	} {
		t.Run(name, func(t *testing.T) { c(newSuite(t, nil)) })
	}
}

// TestSuiteWithFolder has those that have a folder.
func TestSuiteWithFolder(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		run   func(s *suite)
	}{
		"close_preopen": {map[string]string{}, func(s *suite) {
			dir := s.root()
			s.calls("fd_close", with(preopened), Success)
			kind, _, _, _ := s.fdstat(dir)
			want(s.t, "its kind", kind, kindFolder)
			s.calls("fd_fdstat_get", with(preopened, outAt), Badf)
			s.calls("fd_prestat_get", with(preopened, outAt), Badf)
		}},
		"dir_fd_op_failures": {map[string]string{}, func(s *suite) {
			s.calls("fd_prestat_get", with(preopened, outAt), Success)
			n := uint64(le.Uint32(s.f.memory[outAt+4:]))
			s.calls("fd_prestat_dir_name", with(preopened, bufferAt, 0), Inval, NameTooLong)
			s.calls("fd_prestat_dir_name", with(preopened, bufferAt, n+1), Success)
			want(s.t, "its name", string(s.f.memory[bufferAt:bufferAt+n+1]), "/\x00")
			dir := s.root()
			for _, call := range []string{"fd_read", "fd_write"} {
				s.calls(call, with(dir, s.buffers(128), outAt), IsDir, Badf, NotCapable)
			}
			for _, call := range []string{"fd_pread", "fd_pwrite"} {
				s.calls(call, with(dir, s.buffers(128), 0, outAt), IsDir, Badf, NotCapable)
			}
			for whence := range 3 {
				s.calls("fd_seek", with(dir, 0, whence, outAt), IsDir, Badf, NotCapable)
			}
			s.calls("fd_tell", with(dir, outAt), IsDir, Badf, NotCapable)
			s.calls("fd_allocate", with(dir, 0, 1), IsDir, Badf, NotCapable)
			s.calls("fd_filestat_set_size", with(dir, 0), IsDir, Inval, Badf, NotCapable)
		}},
		"directory_seek": {map[string]string{"dir/": ""}, func(s *suite) {
			fd := s.opens(s.root(), 0, "dir", openDirectory, rightSeek, 0, 0, Success)
			s.calls("fd_seek", with(fd, 0, 1, outAt), IsDir, Badf, NotCapable)
			kind, _, base, _ := s.fdstat(fd)
			want(s.t, "its kind", kind, kindFolder)
			want(s.t, "its right to seek", base&rightSeek, 0)
			s.calls("fd_close", with(fd), Success)
		}},
		"path_open_preopen": {map[string]string{}, func(s *suite) {
			_, _, base, inheriting := s.fdstat(preopened)
			const needed = 1<<9 | 1<<10 | 1<<11 | 1<<12 | 1<<13 | 1<<14 | 1<<15 | 1<<16 | 1<<17 | 1<<18 | 1<<20 | 1<<21 | 1<<23 | 1<<24 | 1<<25 | 1<<26
			const below = needed | 1<<0 | 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<22 | 1<<27
			want(s.t, "rights that are missing", needed&^base, 0)
			want(s.t, "inheriting rights that are missing", below&^inheriting, 0)
			s.opens(preopened, 0, ".", 0, base, inheriting, 0, Success)
			s.opens(preopened, 0, ".", 0, 0, 0, 0, Success)
			s.opens(preopened, 0, ".", openDirectory, 0, 0, 0, Success)
			s.opens(preopened, 0, ".", openDirectory, rightRead, 0, 0, Success)
			s.opens(preopened, 0, ".", openDirectory, rightRead|rightWrite, 0, 0, IsDir)
		}},
		"path_open_nonblock": {map[string]string{}, func(s *suite) {
			fd := s.opens(s.root(), 0, ".", 0, 0, 0, nonBlocking, Success)
			_, flags, _, _ := s.fdstat(fd)
			want(s.t, "its flags", flags, nonBlocking)
		}},
		"path_open_dirfd_not_dir": {map[string]string{"file": ""}, func(s *suite) {
			s.opens(s.opens(s.root(), 0, "file", openCreate, 0, 0, 0, Success), 0, "foo", openCreate, 0, 0, 0, NotDir, NotCapable)
		}},
		"path_open_missing":         {map[string]string{}, func(s *suite) { s.opens(s.root(), 0, "file", 0, 0, 0, 0, NoEnt) }},
		"path_open_create_existing": {map[string]string{"file": ""}, func(s *suite) { s.opens(s.root(), 0, "file", openCreate|openExclusive, 0, 0, 0, Exist) }},
		"path_open_read_write": {map[string]string{"file": ""}, func(s *suite) {
			dir := s.root()
			fd := s.opens(dir, 0, "file", 0, rightRead, 0, 0, Success)
			_, _, base, _ := s.fdstat(fd)
			want(s.t, "reading and writing", base&(rightRead|rightWrite), rightRead)
			s.calls("fd_read", with(fd, s.buffers(100), outAt), Success)
			want(s.t, "read", le.Uint32(s.f.memory[outAt:]), 0)
			s.calls("fd_write", with(fd, s.buffers(50), outAt), Badf, NotCapable)
			for _, rights := range []uint64{rightWrite, rightRead | rightWrite} {
				s.opens(dir, 0, "file", 0, rights, 0, 0, ROFS)
			}
		}},
		"path_open_read_without_rights": {map[string]string{"file": "text"}, func(s *suite) {
			fd := s.opens(s.root(), 0, "file", 0, 0, 0, 0, Success)
			_, _, base, _ := s.fdstat(fd)
			want(s.t, "its right to read", base&rightRead, 0)
			s.calls("fd_read", with(fd, s.buffers(4), outAt), Badf, NotCapable)
			s.calls("fd_pread", with(fd, s.buffers(4), 0, outAt), Badf, NotCapable)
		}},
		"path_filestat": {map[string]string{"file": ""}, func(s *suite) {
			dir := s.root()
			_, _, base, _ := s.fdstat(dir)
			want(s.t, "the right to ask", base&rightPathStat, rightPathStat)
			const appends, syncs = 1, 16
			fd := s.opens(dir, 0, "file", openCreate, rightRead|rightPathStat, 0, appends|syncs, Success)
			_, flags, _, _ := s.fdstat(fd)
			want(s.t, "its flags", flags, appends|syncs)
			_, _, size, modified := s.statPath(dir, 0, "file", Success)
			want(s.t, "its size", size, 0)
			set := func(flags int, allowed ...Errno) {
				s.t.Helper()
				s.calls("path_filestat_set_times", with(dir, 0, s.path("file"), 0, modified-100, flags), allowed...)
			}
			set(timesModified, ROFS)
			set(timesModified|timesModifiedNow, Inval)
			set(timesAccess|timesAccessNow, Inval)
			set(16, Inval)
			_, _, _, after := s.statPath(dir, 0, "file", Success)
			want(s.t, "when it was modified", after, modified)
		}},
		"fstflags_validate": {map[string]string{"file": ""}, func(s *suite) {
			fd := s.opens(s.root(), 0, "file", openCreate, rightRead|rightSetTimes, 0, 0, Success)
			s.calls("fd_filestat_set_times", with(fd, 100, 200, timesModified|timesModifiedNow), Inval)
			s.calls("fd_filestat_set_times", with(fd, 100, 200, timesAccess|timesAccessNow), Inval)
			s.calls("fd_filestat_set_times", with(fd, 100, 200, timesAccess|timesModifiedNow), ROFS)
		}},
		"path_exists": {map[string]string{"subdir/file": "", "link1": "->subdir/file", "link2": "->subdir"}, func(s *suite) {
			dir := s.root()
			for name, kinds := range map[string][2]byte{
				"subdir": {kindFolder, kindFolder}, "subdir/file": {kindRegular, kindRegular}, "link1": {kindLink, kindRegular},
				"link2": {kindLink, kindFolder}, "link2/": {kindFolder, kindFolder}, "link2/file": {kindRegular, kindRegular},
			} {
				for look, kind := range kinds {
					got, _, _, _ := s.statPath(dir, look, name, Success)
					want(s.t, name, got, kind)
				}
			}
			s.statPath(dir, 0, "link1/", NotDir)
		}},
		"symlink_filestat": {map[string]string{"file": "text", "symlink": "->file"}, func(s *suite) {
			dir := s.root()
			_, number, size, modified := s.statPath(dir, 0, "file", Success)
			_, linked, length, _ := s.statPath(dir, 0, "symlink", Success)
			if number == linked || size != 4 || length != 4 {
				s.t.Errorf("the file is %d with %d bytes, its link %d with %d", number, size, linked, length)
			}
			_, followed, _, time := s.statPath(dir, followed, "symlink", Success)
			want(s.t, "what the link leads to", followed, number)
			want(s.t, "when that was modified", time, modified)
		}},
		"readlink": {map[string]string{"target": "", "symlink": "->target"}, func(s *suite) {
			dir := s.root()
			copy(s.f.memory[bufferAt:], "\x00\x00\x00\x00\x00\x00\x07\x07\x07\x07")
			s.calls("path_readlink", with(dir, s.path("symlink"), bufferAt, 10, outAt), Success)
			want(s.t, "used", le.Uint32(s.f.memory[outAt:]), 6)
			want(s.t, "the link", string(s.f.memory[bufferAt:bufferAt+10]), "target\x07\x07\x07\x07")
			s.calls("path_readlink", with(dir, s.path("symlink"), bufferAt, 4, outAt), Success)
			want(s.t, "used of four", le.Uint32(s.f.memory[outAt:]), 4)
			s.calls("path_readlink", with(dir, s.path("target"), bufferAt, 10, outAt), Inval)
		}},
		"nofollow_errors": {map[string]string{"target/": "", "symlink": "->target", "file": "", "tofile": "->file"}, func(s *suite) {
			dir := s.root()
			for _, name := range []string{"symlink", "tofile"} {
				s.opens(dir, 0, name, openDirectory, 0, 0, 0, Loop, NotDir)
				s.opens(dir, 0, name, 0, 0, 0, 0, Loop)
			}
			s.opens(dir, followed, "symlink", openDirectory, 0, 0, 0, Success)
			s.opens(dir, followed, "tofile", openDirectory, 0, 0, 0, NotDir)
		}},
		"interesting_paths": {map[string]string{"dir/nested/file": ""}, func(s *suite) {
			dir := s.root()
			for name, allowed := range map[string][]Errno{
				"/dir/nested/file": {NotCapable},
				"dir/.//nested/../../dir/nested/../nested///./file": {Success},
				"dir/nested/file\x00":                               {Inval, NoEnt},
				"dir/nested/file/":                                  {NotDir, NoEnt},
				"dir/nested/file///":                                {NotDir, NoEnt},
				"dir/nested/":                                       {Success},
				"dir/nested///":                                     {Success},
				"dir/nested/../../../x":                             {NotCapable},
				strings.Repeat("dir/../", 500) + "dir":              {Success},
				strings.Repeat("dir/../", 1000) + "dir":             {NameTooLong},
			} {
				if fd := s.opens(dir, 0, name, 0, 0, 0, 0, allowed...); fd != 1<<31 {
					s.calls("fd_close", with(fd), Success)
				}
			}
		}},
		"fd_advise": {map[string]string{"file": strings.Repeat("x", 100)}, func(s *suite) {
			fd := s.opens(s.root(), 0, "file", openCreate, rightRead|rightAdvise, 0, 0, Success)
			s.calls("fd_advise", with(fd, 10, 50, 0), Success)
			s.calls("fd_advise", with(fd, 10, 50, 6), Inval)
			_, _, size, _ := s.stat(fd)
			want(s.t, "its size", size, 100)
		}},
		"fd_fdstat_set_rights": {map[string]string{"file": "\x00\x01\x02\x03"}, func(s *suite) {
			fd := s.opens(s.root(), 0, "file", openCreate, rightRead|rightSeek|rightTell, 0, 0, Success)
			_, _, base, inheriting := s.fdstat(fd)
			s.calls("fd_read", with(fd, s.buffers(4), outAt), Success)
			s.calls("fd_fdstat_set_rights", with(fd, base&^rightRead, inheriting), Success)
			_, _, after, _ := s.fdstat(fd)
			want(s.t, "its rights", after, base&^rightRead)
			s.calls("fd_read", with(fd, s.buffers(4), outAt), Badf, NotCapable)
			s.calls("fd_write", with(fd, s.buffers(4), outAt), Badf, NotCapable)
			s.calls("fd_fdstat_set_rights", with(fd, base, inheriting), NotCapable)
			for stream, call := range []string{"fd_read", "fd_write", "fd_write"} {
				s.calls("fd_fdstat_set_rights", with(stream, rightPoll, 0), Success)
				s.calls(call, with(stream, s.buffers(4), outAt), NotCapable)
			}
		}},
		"fd_flags_set": {map[string]string{"file": ""}, func(s *suite) {
			fd := s.opens(s.root(), 0, "file", openCreate, rightRead|rightSetFlags, 0, 1, Success)
			s.calls("fd_fdstat_set_flags", with(fd, 0), Success)
			_, flags, _, _ := s.fdstat(fd)
			want(s.t, "its flags", flags, 0)
			s.calls("fd_fdstat_set_flags", with(fd, flagsAll+1), Inval)
		}},
		"fd_readdir": {map[string]string{"dir/file": ""}, func(s *suite) {
			dir := s.opens(s.root(), 0, "dir", openDirectory, rightReaddir, rightsBelow, 0, Success)
			_, number, _, _ := s.stat(dir)
			_, inside, _, _ := s.statPath(dir, 0, "file", Success)
			list := func(cookie uint64) (names []string, cookies []uint64) {
				s.calls("fd_readdir", with(dir, bufferAt, 256, cookie, outAt), Success)
				b := s.f.memory[bufferAt:][:le.Uint32(s.f.memory[outAt:])]
				for len(b) > 0 {
					n := int(le.Uint32(b[16:]))
					name := string(b[entrySize : entrySize+n])
					if id := le.Uint64(b[8:]); name == "." && id != number || name == "file" && id != inside {
						s.t.Errorf("%s has the number %d", name, id)
					}
					names, cookies, b = append(names, name), append(cookies, le.Uint64(b)), b[entrySize+n:]
				}
				return names, cookies
			}
			names, cookies := list(0)
			want(s.t, "its names", strings.Join(names, " "), ". .. file")
			names, _ = list(cookies[1])
			want(s.t, "the rest", strings.Join(names, " "), "file")
			names, _ = list(1<<64 - 1)
			want(s.t, "beyond all", len(names), 0)
		}},
		"file_seek_tell": {map[string]string{"file": strings.Repeat("x", 100)}, func(s *suite) {
			fd := s.opens(s.root(), 0, "file", openCreate, rightRead|rightSeek|rightTell, 0, 0, Success)
			seek := func(to int64, whence, at int) {
				s.t.Helper()
				s.calls("fd_seek", with(fd, uint64(to), whence, outAt), Success)
				want(s.t, "where it stands", le.Uint64(s.f.memory[outAt:]), uint64(at))
			}
			seek(100, 0, 100)
			seek(-50, 1, 50)
			seek(0, 0, 0)
			seek(1000, 1, 1000)
			s.calls("fd_seek", with(fd, uint64(1<<64-2000), 1, outAt), Inval)
			seek(0, 0, 0)
			s.calls("fd_read", with(fd, s.buffers(100), outAt), Success)
			s.calls("fd_tell", with(fd, outAt), Success)
			want(s.t, "where it stands after reading", le.Uint64(s.f.memory[outAt:]), 100)
		}},
		"file_pread_pwrite": {map[string]string{"file": "\x00\x01\x02\x03"}, func(s *suite) {
			fd := s.opens(s.root(), 0, "file", openCreate, rightRead|rightSeek, 0, 0, Success)
			for at, wanted := range map[int]string{0: "\x00\x01\x02\x03", 2: "\x02\x03", 4: "", 5: ""} {
				s.calls("fd_pread", with(fd, s.buffers(2, 2), at, outAt), Success)
				n := le.Uint32(s.f.memory[outAt:])
				want(s.t, "what is read", string(s.f.memory[bufferAt:bufferAt+n]), wanted)
			}
			s.calls("fd_pwrite", with(fd, s.buffers(2), 2, outAt), Badf, NotCapable)
			s.calls("fd_tell", with(fd, outAt), Success)
			want(s.t, "where it stands", le.Uint64(s.f.memory[outAt:]), 0)
		}},
		"isatty": {map[string]string{"file": ""}, func(s *suite) {
			kind, _, _, _ := s.fdstat(s.opens(s.root(), 0, "file", openCreate, 0, 0, 0, Success))
			want(s.t, "its kind", kind, kindRegular)
		}},
		"overwrite_preopen": {map[string]string{"dir/": ""}, func(s *suite) {
			dir := s.opens(s.root(), 0, "dir", openDirectory, rightsFolder, rightsBelow, 0, Success)
			_, number, _, _ := s.stat(dir)
			s.calls("fd_renumber", with(dir, preopened), Success)
			_, after, _, _ := s.stat(preopened)
			want(s.t, "what stands there", after, number)
			s.calls("fd_fdstat_get", with(dir, outAt), Badf)
			s.calls("fd_close", with(preopened), Success)
		}},
		"renumber": {map[string]string{"file1": "1", "file2": "2"}, func(s *suite) {
			dir := s.root()
			from := s.opens(dir, 0, "file1", openCreate, rightRead, 0, 0, Success)
			to := s.opens(dir, 0, "file2", openCreate, rightRead|rightTell, 0, 4, Success)
			kind, flags, base, inheriting := s.fdstat(from)
			s.calls("fd_renumber", with(from, to), Success)
			s.calls("fd_close", with(from), Badf)
			k, f, b, i := s.fdstat(to)
			if k != kind || f != flags || b != base || i != inheriting {
				s.t.Error("it is another descriptor than before")
			}
			s.calls("fd_renumber", with(to, from), Badf)
			s.calls("fd_renumber", with(to, to), Success)
			s.calls("fd_renumber", with(99, to), Badf)
			s.calls("fd_close", with(to), Success)
		}},
		"stdio": {map[string]string{"file": "text"}, func(s *suite) {
			dir := s.root()
			for stream := range streams {
				to := s.opens(dir, 0, "file", openCreate, 0, 0, 0, Success)
				s.calls("fd_renumber", with(stream, to), Success)
				s.calls("fd_fdstat_get", with(to, outAt), Success)
				s.calls("fd_fdstat_get", with(stream, outAt), Badf)
				if stream > 0 {
					copy(s.f.memory[bufferAt:], "text")
					s.calls("fd_write", with(to, s.buffers(4), outAt), Success)
					want(s.t, "what was written", string(s.f.written[stream]), "text")
				}
			}
			if s.f.did != nil {
				s.t.Errorf("the system was told %v", s.f.did)
			}
		}},
		"a file as standard input": {map[string]string{"file": "text"}, func(s *suite) {
			fd := s.opens(preopened, 0, "file", 0, rightRead, 0, 0, Success)
			s.calls("fd_renumber", with(fd, 0), Success)
			s.calls("fd_read", with(0, s.buffers(10), outAt), Success)
			want(s.t, "what is read", string(s.f.memory[bufferAt:bufferAt+4]), "text")
			subscribe(s.f.memory, 7, eventRead, 0, 0, 0)
			s.calls("poll_oneoff", with(pathAt, bufferAt, 1, outAt), Success)
			want(s.t, "the stream was closed", strings.Join(s.f.did, ", "), "close 0")
		}},
		"truncation_rights": {map[string]string{"file": "text"}, func(s *suite) {
			dir := s.root()
			kind, flags, base, _ := s.fdstat(dir)
			want(s.t, "its kind", kind, kindFolder)
			want(s.t, "its flags", flags, 0)
			want(s.t, "rights of setting sizes", base&(rightSetSize|1<<19), 0)
			s.opens(dir, 0, "file", openTruncate, 0, 0, 0, ROFS)
		}},
		"what would change the folder": {map[string]string{"dir/": "", "file": "", "link": "->file"}, func(s *suite) {
			dir := s.root()
			s.calls("path_create_directory", with(dir, s.path("new")), ROFS)
			s.calls("path_create_directory", with(dir, s.path("dir")), Exist)
			s.calls("path_create_directory", with(dir, s.path("../new")), NotCapable)
			s.calls("path_remove_directory", with(dir, s.path("dir")), ROFS)
			s.calls("path_unlink_file", with(dir, s.path("file")), ROFS)
			s.calls("path_unlink_file", with(dir, s.path("/file")), NotCapable)
			s.calls("path_symlink", with(s.path("file"), dir, s.second("new")), ROFS)
			s.calls("path_symlink", with(s.path("file"), dir, s.second("link")), Exist)
			s.calls("path_symlink", with(64<<10, 1, dir, s.second("new")), Fault)
			s.calls("path_link", with(dir, 0, s.path("file"), dir, s.second("new")), ROFS)
			s.calls("path_link", with(dir, 0, s.path("file"), dir, s.second("dir")), Exist)
			s.calls("path_link", with(dir, followed, s.path("link"), dir, s.second("new")), Inval, NoEnt)
			s.calls("path_link", with(dir, 0, s.path("none"), dir, s.second("new")), NoEnt)
			s.calls("path_link", with(dir, 0, s.path("file"), 99, s.second("new")), Badf)
			s.calls("path_rename", with(dir, s.path("file"), dir, s.second("new")), ROFS)
			s.calls("path_rename", with(dir, s.path("none"), dir, s.second("new")), NoEnt)
			s.calls("path_rename", with(dir, s.path("file"), dir, s.second("../new")), NotCapable)
			s.calls("path_rename", with(dir, s.path("file"), 99, s.second("new")), Badf)
		}},
		"links stay inside": {map[string]string{
			"a/up": "->../file", "a/self": "->.", "file": "text", "b": "->a", "c": "->b/", "d": "->c/up", "deep/er/x": "", "e": "->deep/er",
		}, func(s *suite) {
			dir := s.root()
			for _, name := range []string{"a/up", "b/up", "c/up", "d", "c/self/self/up", strings.Repeat("a/self/../", 10) + "file"} {
				fd := s.opens(dir, followed, name, 0, rightRead, 0, 0, Success)
				_, _, size, _ := s.stat(fd)
				want(s.t, name, size, 4)
			}
			// The path goes on from where the link leads.
			s.opens(dir, followed, "e/../er/x", 0, rightRead, 0, 0, Success)
			s.opens(dir, followed, "a"+strings.Repeat("/self", 40), 0, rightRead, 0, 0, Success)
			s.opens(dir, followed, "a"+strings.Repeat("/self", 41), 0, rightRead, 0, 0, Loop)
			a := s.opens(dir, 0, "a", openDirectory, rightsFolder, rightsBelow, 0, Success)
			// It leads out of what is open.
			s.opens(a, followed, "up", 0, rightRead, 0, 0, NotCapable)
		}},
		"bad arguments": {map[string]string{"file": "text"}, func(s *suite) {
			s.opens(preopened, 2, "file", 0, rightRead, 0, 0, Inval)
			s.opens(preopened, 0, "file", openAll+1, rightRead, 0, 0, Inval)
			s.opens(preopened, 0, "file", 0, rightRead, 0, flagsAll+1, Inval)
			s.statPath(preopened, 2, "file", Inval)
			for _, call := range []string{"path_open", "path_filestat_get", "path_filestat_set_times"} {
				s.calls(call, with(preopened, 0, 64<<10, 1, 0, 0, 0, 0, outAt), Fault)
				s.calls(call, with(99, 0, s.path("file"), 0, 0, 0, 0, outAt), Badf)
				s.calls(call, with(1, 0, s.path("file"), 0, 0, 0, 0, outAt), NotDir)
			}
			fd := s.opens(preopened, 0, "file", 0, rightRead, 0, 0, Success)
			s.calls("fd_read", with(fd, s.buffers(), outAt), Success)
			want(s.t, "nothing was read", le.Uint32(s.f.memory[outAt:]), 0)
			put32(s.f.memory, secondAt, bufferAt, 3, bufferAt+1, 3) // buffers over one another
			s.calls("fd_read", with(fd, secondAt, 2, outAt), Success)
			want(s.t, "over one another", string(s.f.memory[bufferAt:bufferAt+3]), "ttx")
		}},
	} {
		t.Run(name, func(t *testing.T) { c.run(newSuite(t, c.files)) })
	}
}
