package wasi

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeFolder makes a folder of files; a name with a slash at its end is a folder, and a text
// that begins with -> is a link.
func writeFolder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			t.Fatal(err)
		}
		var err error
		if to, link := strings.CutPrefix(text, "->"); link {
			err = os.Symlink(to, full)
		} else if strings.HasSuffix(name, "/") {
			err = os.MkdirAll(full, 0o700)
		} else {
			err = os.WriteFile(full, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func testFolder(t testing.TB) *Folder {
	t.Helper()
	f, err := ReadFolder(writeFolder(t, map[string]string{
		"hello.txt": "hello, world", "a/b.c": "int b;", "a/d/e": "", "empty/": "", "link": "->a/b.c", "down": "->a",
	}), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// opens has the program open a path, and gives its descriptor, or the error.
func opens(t *testing.T, p *Process, from uint64, name string, how, rights uint64) (fd uint64, e Errno) {
	t.Helper()
	memory := p.System.Memory()
	copy(memory, name)
	s := stackOf("path_open", []uint64{from, followed, 0, uint64(len(name)), how, rights, 0, 0, 500})
	functions["path_open"].Call(p, s)
	return uint64(le.Uint32(memory[500:])), Errno(s[0])
}

func TestFiles(t *testing.T) {
	f := &fake{memory: make([]byte, 2000)}
	p := f.process()
	call(t, p, Badf, "fd_prestat_get", 3, 0)
	p.Folder = testFolder(t)
	call(t, p, Success, "fd_prestat_get", 3, 0)
	if f.memory[0] != 0 || le.Uint32(f.memory[4:]) != 1 {
		t.Errorf("the folder is % x", f.memory[:8])
	}
	call(t, p, Success, "fd_prestat_dir_name", 3, 8, 1)
	if f.memory[8] != '/' {
		t.Errorf("its name is %q", f.memory[8])
	}
	call(t, p, Badf, "fd_prestat_get", 4, 0)
	for name, want := range map[string]Errno{
		"hello.txt": Success, "a/b.c": Success, "link": Success, "down/b.c": Success, "./a//d/../b.c": Success, "a": Success, "empty/.": Success,
		"": NoEnt, "nothing": NoEnt, "a/nothing": NoEnt, "hello.txt/x": NotDir, "hello.txt/..": NotDir,
		"..": NotCapable, "a/../..": NotCapable, "a/d/../../../etc/passwd": NotCapable, "/hello.txt": NotCapable, "hello.txt\x00": NoEnt,
	} {
		fd, e := opens(t, p, 3, name, 0, rightRead)
		if e != want {
			t.Errorf("opening %q answers %d, want %d", name, e, want)
		}
		if e == Success {
			call(t, p, Success, "fd_close", fd)
			call(t, p, Badf, "fd_close", fd)
		}
	}
	for _, c := range []struct {
		name        string
		how, rights uint64
		want        Errno
	}{
		{"new", openCreate, rightRead, ROFS}, {"hello.txt", openCreate, rightRead, Success}, {"hello.txt", openCreate | openExclusive, rightRead, Exist},
		{"hello.txt", openTruncate, rightRead, ROFS}, {"hello.txt", 0, rightWrite, ROFS}, {"hello.txt", openDirectory, rightRead, NotDir},
		{"a", openDirectory, rightsFolder, Success}, {"a", 0, rightWrite, IsDir}, {"a", openDirectory, rightRead | rightWrite, IsDir},
		{"hello.txt", openAll + 1, rightRead, Inval}, {"new", openCreate | openExclusive, rightWrite, ROFS}, {"a", openCreate, rightRead, Success},
	} {
		if _, e := opens(t, p, 3, c.name, c.how, c.rights); e != c.want {
			t.Errorf("opening %s by %d with %d answers %d, want %d", c.name, c.how, c.rights, e, c.want)
		}
	}
	copy(f.memory, "new")
	for _, name := range []string{"path_create_directory", "path_remove_directory", "path_unlink_file"} {
		call(t, p, ROFS, name, 3, 0, 3)
		call(t, p, Badf, name, 99, 0, 3)
		call(t, p, NotDir, name, 0, 0, 3)
	}

	// From a folder that is open nobody gets above it.
	a, _ := opens(t, p, 3, "a", openDirectory, rightRead)
	if _, e := opens(t, p, a, "b.c", 0, rightRead); e != Success {
		t.Errorf("a file below an open folder answers %d", e)
	}
	if _, e := opens(t, p, a, "../hello.txt", 0, rightRead); e != NotCapable {
		t.Errorf("a file above an open folder answers %d", e)
	}
	file, _ := opens(t, p, 3, "hello.txt", 0, rightRead)
	if _, e := opens(t, p, file, "x", 0, rightRead); e != NotDir {
		t.Errorf("a file below a file answers %d", e)
	}
	for e := Success; e == Success; {
		_, e = opens(t, p, 3, "a", 0, rightRead)
		if e != Success && e != MFile {
			t.Errorf("with all descriptors in use it answers %d", e)
		}
	}
	if len(p.files) != streams+mostFiles {
		t.Errorf("%d files are open", len(p.files))
	}
}

func TestReadingFiles(t *testing.T) {
	f := &fake{memory: make([]byte, 2000)}
	p := f.process()
	p.Folder = testFolder(t)
	fd, _ := opens(t, p, 3, "hello.txt", 0, rightRead)
	put32(f.memory, 0, 100, 3, 200, 4)
	read := func(want string) {
		t.Helper()
		call(t, p, Success, "fd_read", fd, 0, 2, 500)
		n := le.Uint32(f.memory[500:])
		if got := string(f.memory[100:100+min(n, 3)]) + string(f.memory[200:200+max(n, 3)-3]); got != want {
			t.Errorf("it read %q, want %q", got, want)
		}
	}
	read("hello, ")
	read("world")
	read("")
	call(t, p, Success, "fd_tell", fd, 600)
	if le.Uint64(f.memory[600:]) != 12 {
		t.Errorf("it stands at %d", le.Uint64(f.memory[600:]))
	}
	for _, c := range []struct {
		to     int64
		whence uint64
		want   Errno
		at     uint64
	}{{7, 0, Success, 7}, {-2, 1, Success, 5}, {-5, 2, Success, 7}, {-13, 2, Inval, 0}, {0, 3, Inval, 0}, {1<<63 - 1, 1, Inval, 0}, {1 << 40, 0, Success, 1 << 40}} {
		call(t, p, c.want, "fd_seek", fd, uint64(c.to), c.whence, 600)
		if c.want == Success && le.Uint64(f.memory[600:]) != c.at {
			t.Errorf("seek %d by %d leads to %d, want %d", c.to, c.whence, le.Uint64(f.memory[600:]), c.at)
		}
	}
	read("")
	call(t, p, Success, "fd_pread", fd, 0, 2, 7, 500)
	if got := string(f.memory[100:103]) + string(f.memory[200:202]); le.Uint32(f.memory[500:]) != 5 || got != "world" {
		t.Errorf("pread gives %q", got)
	}
	call(t, p, Inval, "fd_pread", fd, 0, 2, 1<<63, 500)
	call(t, p, SeekPipe, "fd_pread", 0, 0, 2, 0, 500)
	call(t, p, Badf, "fd_write", fd, 0, 1, 500)
	call(t, p, Fault, "fd_read", fd, 0, 2, 1997)
	call(t, p, Success, "fd_filestat_get", fd, 600)
	if f.memory[616] != kindRegular || le.Uint64(f.memory[632:]) != 12 || le.Uint64(f.memory[648:]) == 0 {
		t.Errorf("it is % x", f.memory[600:664])
	}
	call(t, p, Success, "fd_fdstat_get", fd, 600)
	if f.memory[600] != kindRegular {
		t.Errorf("its kind is %d", f.memory[600])
	}
	copy(f.memory, "a/d")
	call(t, p, Success, "path_filestat_get", 3, 1, 0, 3, 600)
	if f.memory[616] != kindFolder {
		t.Errorf("a folder's kind is %d", f.memory[616])
	}
	call(t, p, Inval, "path_readlink", 3, 0, 3, 600, 10, 700)
	put32(f.memory, 0, 100, 3)
	call(t, p, IsDir, "fd_read", 3, 0, 1, 500)
	to, _ := opens(t, p, 3, "a", 0, rightRead)
	call(t, p, Success, "fd_renumber", fd, to)
	call(t, p, Badf, "fd_tell", fd, 600)
	call(t, p, Success, "fd_tell", to, 600)
}

// A folder is listed in pieces as small as the program likes, and has all of its names.
func TestReaddir(t *testing.T) {
	for _, room := range []uint64{25, 30, 64, 1000} {
		f := &fake{memory: make([]byte, 2000)}
		p := f.process()
		p.Folder = testFolder(t)
		var names []string
		cookie := uint64(0)
		for range 100 {
			call(t, p, Success, "fd_readdir", 3, 600, room, cookie, 500)
			used := le.Uint32(f.memory[500:])
			list := f.memory[600 : 600+used]
			whole := false
			for len(list) >= entrySize {
				n := int(le.Uint32(list[16:]))
				if len(list) < entrySize+n {
					break
				}
				names = append(names, string(list[entrySize:entrySize+n]))
				cookie = le.Uint64(list)
				list = list[entrySize+n:]
				whole = true
			}
			if uint64(used) < room {
				break
			}
			if !whole {
				room += 10
			}
		}
		if got := strings.Join(names, " "); got != ". .. a down empty hello.txt link" {
			t.Errorf("with %d bytes it lists %s", room, got)
		}
	}
}

func TestReadFolder(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		most  int64
		want  string
	}{
		"a link that leads out":         {map[string]string{"x": "->/etc/passwd"}, 1 << 20, "escapes"},
		"a link that leads above":       {map[string]string{"x": "->../x"}, 1 << 20, "escapes"},
		"a link to nothing":             {map[string]string{"x": "->y"}, 1 << 20, "no such file"},
		"a link to itself":              {map[string]string{"x": "->x"}, 1 << 20, "links lead round in a circle"},
		"a link to a link that is none": {map[string]string{"x": "->y", "y": "->z"}, 1 << 20, "no such file"},
		"a link out by a folder":        {map[string]string{"a/x": "->../../b", "b": ""}, 1 << 20, "escapes"},
		"more than may be":              {map[string]string{"x": strings.Repeat("x", 5000)}, 5000, "more than 5000 bytes"},
		"names alone are too many":      {map[string]string{"x": "", "y": ""}, 300, "more than 300 bytes"},
	} {
		dir := writeFolder(t, c.files)
		if _, err := ReadFolder(dir, c.most); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		} else if strings.HasPrefix(c.want, "more") != errors.Is(err, ErrFolderSize) {
			t.Errorf("%s: %v has the wrong error inside", name, err)
		}
	}
	if _, err := ReadFolder(filepath.Join(t.TempDir(), "nothing"), 1000); err == nil {
		t.Error("a folder that is not there was read")
	}
}
