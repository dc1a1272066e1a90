package codestore

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"bulkhead/internal/privatefile"
)

// Store is a folder of native code. Its methods may be called from any
// goroutine, and other processes may use the same folder.
type Store struct {
	dir    string
	engine [sha256.Size]byte
	key    []byte
	// Remade says in a line that the folder's key was of no use and another one
	// was made, so that all code is compiled again. It is empty otherwise.
	Remade string

	most atomic.Int64 // bytes of code; zero or less: any number
	came atomic.Int64 // bytes since code was last trimmed
	// left are bytes of code as it was then, and removed files that have ever been.
	left, removed atomic.Int64
}

// Sum is a SHA-256: that of a module, or what the engine makes of one.
type Sum = [sha256.Size]byte

// Open makes a folder with mode 0700, whose parent has to be there, or makes
// sure that it belongs to this process's user or to root and that nobody else
// may enter it. It reads the folder's key, or makes one. engine says what made
// the code, and on what: code of another one is not found. The errors name the
// folder, and the mend where there is one.
func Open(dir, engine string) (*Store, error) {
	if err := makeFolder(dir); err != nil {
		return nil, err
	}
	root, err := openFolder(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the folder of compiled code: %w", err)
	}
	defer root.Close()
	s := &Store{dir: dir, engine: sha256.Sum256([]byte(engine))}
	if s.key, s.Remade, err = readKey(root, dir); err != nil {
		return nil, err
	}
	clean(dir)
	return s, nil
}

// Dir is the folder.
func (s *Store) Dir() string { return s.dir }

// Code is native code that has been verified.
type Code struct {
	// Engine is the name that the engine has for it. It depends on the module,
	// on the engine and on the processor.
	Engine Sum
	// Bytes are as the engine has written them. They may not be used after
	// Release.
	Bytes []byte

	buffer *[]byte
}

// Release gives the memory of the code back. It is called once, or not at all.
func (c *Code) Release() {
	if c.buffer != nil {
		buffers.Put(c.buffer)
		c.buffer, c.Bytes = nil, nil
	}
}

// buffers are for code on its way to the engine, which copies it.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// Damaged is the error of Get for code that is not as it was put. It was
// removed, if it could be.
type Damaged struct {
	Path string
	Why  string // a clause
}

// Error says what is damaged, and why.
func (d *Damaged) Error() string { return fmt.Sprintf("%s is damaged: %s", d.Path, d.Why) }

// A file is a header, the code, and the HMAC of both. The header is magic, then
// the sums of the engine, the module and what the engine calls the code. What
// is left of the file's size is the code's.
const (
	magic      = "bulkhead code 1\n"
	headerSize = len(magic) + 3*sha256.Size
	overhead   = headerSize + sha256.Size

	// maxFile is more than any code takes, as a bound for what is read.
	maxFile = 2 << 30

	// piece is how much is read and hashed at a time, so that it is hashed while
	// the processor has it at hand.
	piece = 256 << 10
)

func (s *Store) header(module, engine Sum) []byte {
	h := make([]byte, 0, headerSize)
	h = append(h, magic...)
	h = append(h, s.engine[:]...)
	h = append(h, module[:]...)
	return append(h, engine[:]...)
}

// name is the file of a module's code in the folder. Nobody but this process
// has a say in it.
func (s *Store) name(module Sum) string {
	h := sha256.New()
	h.Write(s.engine[:])
	h.Write(module[:])
	return filepath.Join(codeFolder, hex.EncodeToString(h.Sum(nil)))
}

// Path is where a module's code is, or would be.
func (s *Store) Path(module Sum) string { return filepath.Join(s.dir, s.name(module)) }

// Get reads the code of a module and verifies it. The error is fs.ErrNotExist
// when there is none, a *Damaged when it is not what Put was given, or says
// why the folder cannot be read.
func (s *Store) Get(module Sum) (*Code, error) {
	root, err := openFolder(s.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	name := s.name(module)
	c, err := s.read(root, name, module)
	var damaged *Damaged
	if errors.As(err, &damaged) {
		_ = root.RemoveAll(name)
	} else if now := time.Now(); err == nil {
		_ = root.Chtimes(name, now, now) // when it was last used
	}
	return c, err
}

func (s *Store) read(root *os.Root, name string, module Sum) (*Code, error) {
	damaged := func(format string, args ...any) error {
		return &Damaged{s.Path(module), fmt.Sprintf(format, args...)}
	}
	f, err := privatefile.Open(root, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, damaged("it cannot be looked at: %v", err)
	case !info.Mode().IsRegular():
		return nil, damaged("it is no file")
	case info.Size() < int64(overhead):
		return nil, damaged("it has %d bytes, and even without code there are %d", info.Size(), overhead)
	case info.Size() > maxFile:
		return nil, damaged("it has %d bytes", info.Size())
	}
	buffer := buffers.Get().(*[]byte)
	c := &Code{buffer: buffer}
	if cap(*buffer) < int(info.Size()) {
		*buffer = make([]byte, info.Size())
	}
	all := (*buffer)[:info.Size()]
	body := all[:len(all)-sha256.Size]
	mac := hmac.New(sha256.New, s.key)
	for at := 0; at < len(all); at += piece {
		b := all[at:min(at+piece, len(all))]
		if _, err := io.ReadFull(f, b); err != nil {
			c.Release()
			return nil, damaged("reading it: %v", err)
		}
		if at < len(body) {
			mac.Write(body[at:min(at+piece, len(body))])
		}
	}
	copy(c.Engine[:], all[headerSize-sha256.Size:])
	why := ""
	switch want := s.header(module, c.Engine); {
	case !hmac.Equal(mac.Sum(nil), all[len(body):]):
		why = "its digest is another one"
	case string(all[:headerSize]) != string(want):
		why = "it is the code of another module, or of another engine"
	}
	if why != "" {
		c.Release()
		return nil, damaged("%s", why)
	}
	c.Bytes = body[headerSize:]
	return c, nil
}

// Put keeps the code of a module, whole or not at all, in place of what is
// there. engine is the name that the engine has for the code.
func (s *Store) Put(module, engine Sum, code []byte) error {
	return s.put(module, engine, code, true)
}

// put is Put. With sync the file is on the disk when it returns.
func (s *Store) put(module, engine Sum, code []byte, sync bool) error {
	if len(code) > maxFile-overhead {
		return fmt.Errorf("keeping compiled code in %s: it has %d bytes", s.dir, len(code))
	}
	root, err := openFolder(s.dir)
	if err != nil {
		return fmt.Errorf("keeping compiled code: %w", err)
	}
	defer root.Close()
	head := s.header(module, engine)
	mac := hmac.New(sha256.New, s.key)
	mac.Write(head)
	mac.Write(code)
	if err = subfolder(root, codeFolder); err == nil {
		err = place(root, sync, s.name(module), head, code, mac.Sum(nil))
	}
	if err != nil {
		return fmt.Errorf("keeping compiled code in %s: %w", s.dir, err)
	}
	if most := s.most.Load(); most > 0 && s.came.Add(int64(len(code))) >= most/8 {
		return s.trimCode(most, filepath.Base(s.name(module)))
	}
	return nil
}

// BoundCode has all code together take most bytes from now on, up to an eighth more; zero or less:
// any number. What is more is removed, that first whose use is longest ago, and is compiled again
// when it is wanted: code is used when it is put or got. The newest stays, however much it has.
func (s *Store) BoundCode(most int64) error {
	if s.most.Store(most); most > 0 {
		return s.trimCode(most, "")
	}
	return nil
}

// Code is how many bytes of code the folder has, as far as is known: what others have put there
// counts from when it was looked over last. removed is how many files had to go for BoundCode. Any
// goroutine may call it.
func (s *Store) Code() (bytes, removed int64) {
	return s.left.Load() + s.came.Load(), s.removed.Load()
}

// trimCode removes code, but for one file.
func (s *Store) trimCode(most int64, but string) error {
	s.came.Store(0)
	root, err := openFolder(s.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), codeFolder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking at the compiled code in %s: %w", s.dir, err)
	}
	left, removed := trim(root, codeFolder, entries, most, func(file string) bool { return file == but })
	s.left.Store(left)
	s.removed.Add(int64(removed))
	return nil
}

// place writes a file, whole or not at all, in place of whatever has its name. Without sync a crash
// of the machine may leave one whose bytes are not all there.
func place(root *os.Root, sync bool, name string, parts ...[]byte) error {
	temp, err := writeFile(root, sync, parts...)
	if err != nil {
		return err
	}
	if err = root.Rename(temp, name); err != nil {
		// What is no file cannot be replaced by one.
		_ = root.RemoveAll(name)
		err = root.Rename(temp, name)
	}
	if err != nil {
		_ = root.Remove(temp)
	}
	return err
}

// subfolder makes a folder in the store's, also where something else has its name.
func subfolder(root *os.Root, name string) error {
	err := root.Mkdir(name, 0o700)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if info, err := root.Lstat(name); err != nil || info.IsDir() {
		return err
	}
	if err := root.RemoveAll(name); err != nil {
		return err
	}
	return root.Mkdir(name, 0o700)
}
