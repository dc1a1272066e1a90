package wasi

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
)

// Folder is what programs see of a folder: its files as they were when it was read. Many
// programs share one, as nothing in it changes.
type Folder struct {
	opened file // its descriptor, as programs are given it
	size   int64
}

// Size is how many bytes the folder takes: its files, and some for each of their names.
func (f *Folder) Size() int64 { return f.size }

// node is a file or a folder in a Folder.
type node struct {
	name     string
	parent   *node // of the root, itself
	names    []*node
	data     []byte
	folder   bool
	link     string // where it leads, of a link
	modified int64  // nanoseconds since 1970
	number   uint64
}

const (
	// mostNodes is how many files and folders a Folder may have, and mostDepth how deep
	// they may lie.
	mostNodes = 10_000
	mostDepth = 32
	// nodeSize is what a name costs beside the bytes of its file.
	nodeSize = 256
)

// ReadFolder reads a folder with everything below it, which may be most bytes together. Links
// stay links, and have to lead to something inside. Errors are one line that names the file; one is
// ErrFolderSize inside.
func ReadFolder(name string, most int64) (*Folder, error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, plain(name, err)
	}
	defer root.Close()
	r := reader{root: root, name: name, most: most}
	top := &node{name: "/", folder: true}
	top.parent = top
	if err := r.folder(top, ".", 0); err != nil {
		return nil, err
	}
	return &Folder{file{node: top, rights: rightsFolder, inheriting: rightsBelow, open: true}, r.size}, nil
}

// ErrFolderSize says that a folder is too large.
var ErrFolderSize = errors.New("the folder is too large")

type reader struct {
	root       *os.Root
	name       string
	most, size int64
	count      uint64
}

// plain says of an error what went wrong with which file, as one line.
func plain(name string, err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	if errors.Is(err, syscall.ELOOP) {
		err = errors.New("links lead round in a circle, or too far")
	}
	return fmt.Errorf("reading %s: %w", name, err)
}

func (r *reader) folder(n *node, at string, depth int) error {
	f, err := r.root.Open(at)
	if err != nil {
		return plain(path.Join(r.name, at), err)
	}
	names, err := f.Readdirnames(mostNodes + 1)
	_ = f.Close()
	if err != nil && err != io.EOF {
		return plain(path.Join(r.name, at), err)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := r.entry(n, path.Join(at, name), name, depth); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) entry(parent *node, at, name string, depth int) error {
	full := path.Join(r.name, at)
	target, err := r.root.Stat(at) // a link has to lead to what programs can open
	if err != nil {
		return plain(full, err)
	}
	info, err := r.root.Lstat(at)
	if err != nil {
		return plain(full, err)
	}
	if r.count++; r.count > mostNodes || depth >= mostDepth {
		return fmt.Errorf("reading %s: %w: it may have %d files and folders, at most %d deep", full, ErrFolderSize, mostNodes, mostDepth)
	}
	n := &node{name: name, parent: parent, modified: info.ModTime().UnixNano(), number: r.count}
	parent.names = append(parent.names, n)
	if err := r.take(nodeSize+int64(len(name)), full); err != nil {
		return err
	}
	switch {
	case !target.IsDir() && !target.Mode().IsRegular():
		return fmt.Errorf("reading %s: it is neither a file nor a folder", full)
	case info.Mode()&fs.ModeSymlink != 0:
		if n.link, err = r.root.Readlink(at); err != nil {
			return plain(full, err)
		}
		return r.take(int64(len(n.link)), full)
	case info.IsDir():
		n.folder = true
		return r.folder(n, at, depth+1)
	}
	if err := r.take(info.Size(), full); err != nil {
		return err
	}
	f, err := r.root.Open(at)
	if err != nil {
		return plain(full, err)
	}
	defer f.Close()
	n.data = make([]byte, info.Size())
	if _, err := io.ReadFull(f, n.data); err != nil {
		return plain(full, fmt.Errorf("it changes while it is read: %w", err))
	}
	return nil
}

func (r *reader) take(bytes int64, full string) error {
	if r.size += bytes; r.size > r.most {
		return fmt.Errorf("reading %s: %w: with it there are more than %d bytes", full, ErrFolderSize, r.most)
	}
	return nil
}

// child is a name in a folder; nil when there is none.
func (n *node) child(name string) *node {
	i, found := slices.BinarySearchFunc(n.names, name, func(c *node, name string) int { return strings.Compare(c.name, name) })
	if !found {
		return nil
	}
	return n.names[i]
}

// mostLinks is how many links one path may lead over.
const mostLinks = 40

// walk finds what a path means that begins at n, and may not leave it, by links neither. The last
// part is followed when it is a link if follow says so, or a slash stands behind it.
func (n *node) walk(p string, follow bool) (*node, Errno) {
	if strings.HasPrefix(p, "/") {
		return nil, NotCapable
	}
	if p == "" {
		return nil, NoEnt
	}
	at, links := n, 0
	for more := true; more; {
		var part string
		part, p, more = strings.Cut(p, "/")
		switch {
		case !at.folder:
			return nil, NotDir
		case part == "" || part == ".":
		case part == "..":
			if at == n {
				return nil, NotCapable
			}
			at = at.parent
		default:
			child := at.child(part)
			switch {
			case child == nil:
				return nil, NoEnt
			case child.link == "" || !more && !follow:
				at = child
				continue
			case strings.HasPrefix(child.link, "/"):
				return nil, NotCapable
			}
			if links++; links > mostLinks {
				return nil, Loop
			}
			if more {
				p = child.link + "/" + p
			} else {
				p, more = child.link, true
			}
			if len(p) > 2*maxPath {
				return nil, NameTooLong
			}
		}
	}
	return at, Success
}
