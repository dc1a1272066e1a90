package bundle

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"bulkhead/internal/bytesize"
)

// What lies at a path of the folder.
const (
	isFile   = "file"
	isFolder = "folder"
	isAbsent = "absent"
	isBarred = "barred" // Why says why
)

// answer is what the parent says of a path.
type answer struct {
	Kind string
	Real string `json:",omitempty"` // the path without links
	Why  string `json:",omitempty"`
	Size int    // of the content that follows

	content []byte
}

// seen is a question with what was answered.
type seen struct {
	path string
	sum  [sha256.Size]byte
}

// folder answers questions about the folder of one script, from which nothing leads out. It is used
// by one goroutine at a time, but for read.
type folder struct {
	dir, name string // of the script, without links
	root      *os.Root
	limits    Limits

	mu     sync.Mutex
	seen   []seen
	files  []string
	bytes  int64
	script []byte // what the script's own file held
	beyond string // the key of the limit that a question has gone beyond; "": none has
}

const (
	// questions is how many may be asked for each file that may be read: looking for a file is
	// asking for each name that it may have.
	questions = 25
	maxPath   = 1024
)

// openFolder opens the folder that a script lies in: where a link leads to, if its path is one.
func openFolder(path string, limits Limits) (*folder, error) {
	real, err := filepath.Abs(path)
	if err == nil {
		real, err = filepath.EvalSymlinks(real)
	}
	if err != nil {
		return nil, err
	}
	f := &folder{dir: filepath.Dir(real), name: filepath.Base(real), limits: limits}
	if f.root, err = os.OpenRoot(f.dir); err != nil {
		return nil, err
	}
	return f, nil
}

// Close closes it.
func (f *folder) Close() { _ = f.root.Close() }

// read answers a question. Any goroutine may call it.
func (f *folder) read(path string) answer {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.look(path)
	a.Size = len(a.content)
	sum := sha256.New()
	fmt.Fprintf(sum, "%q %q %q\n", a.Kind, a.Real, a.Why)
	sum.Write(a.content)
	f.seen = append(f.seen, seen{path, [sha256.Size]byte(sum.Sum(nil))})
	if a.Kind == isFile {
		f.files = append(f.files, a.Real)
		f.bytes += int64(a.Size)
		if a.Real == f.name {
			f.script = a.content
		}
	}
	return a
}

// looked are the paths that were asked for, each once, in the order in which they were.
func (f *folder) looked() (paths []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := make(map[string]bool, len(f.seen))
	for _, q := range f.seen {
		if !known[q.path] && filepath.IsLocal(filepath.FromSlash(q.path)) {
			known[q.path] = true
			paths = append(paths, q.path)
		}
	}
	return paths
}

func barred(format string, args ...any) answer {
	return answer{Kind: isBarred, Why: fmt.Sprintf(format, args...)}
}

// look answers, without a note.
func (f *folder) look(path string) answer {
	local := filepath.FromSlash(path)
	switch {
	case len(f.seen) >= questions*f.limits.Files:
		f.beyond = "script_files"
		return barred("looking for what it imports takes more than %d tries, %d for each file of its listener's script_files; write imports with the files' endings, or raise that", questions*f.limits.Files, questions)
	case path == "" || len(path) > maxPath || strings.ContainsRune(path, 0):
		return answer{Kind: isAbsent}
	case !filepath.IsLocal(local):
		return barred("it is outside of the script's folder; put it in there")
	}
	real, err := filepath.EvalSymlinks(filepath.Join(f.dir, local))
	if err == nil {
		if real, err = filepath.Rel(f.dir, real); err == nil && !filepath.IsLocal(real) {
			return barred("%s is, or lies behind, a symbolic link that leads out of the script's folder; put the file itself in there", path)
		}
	}
	if err != nil {
		return failed(path, err)
	}
	file, err := f.root.OpenFile(real, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return failed(path, err)
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return failed(path, err)
	case info.IsDir():
		return answer{Kind: isFolder, Real: filepath.ToSlash(real)}
	case !info.Mode().IsRegular():
		return barred("%s is not a regular file", path)
	case len(f.files) >= f.limits.Files:
		f.beyond = "script_files"
		return barred("it takes more than %d files; bundle them beforehand, or raise its listener's script_files", f.limits.Files)
	}
	left := f.limits.Bytes - f.bytes
	content, err := io.ReadAll(io.LimitReader(file, left+1))
	if err != nil {
		return failed(path, err)
	}
	if int64(len(content)) > left {
		f.beyond = "script_bytes"
		return barred("its files have more than %s together; leave out what it does not need, or raise its listener's script_bytes", bytesize.String(f.limits.Bytes))
	}
	return answer{Kind: isFile, Real: filepath.ToSlash(real), content: content}
}

// failed is the answer when the system says that something is wrong with a path.
func failed(path string, err error) answer {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG) {
		return answer{Kind: isAbsent}
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return barred("%s cannot be read: %v", path, err)
}
