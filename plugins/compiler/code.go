package compiler

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"

	"golang.org/x/sys/unix"
)

// code is what a child left, read and checked.
type code struct {
	folder string // of the engine's version, in the cache
	name   string
	bytes  []byte
}

var (
	codeFolder = regexp.MustCompile(`^wazero-[0-9A-Za-z.+_-]{1,100}$`)
	codeName   = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// strange is a child that left something else than the code of one module.
func strange(format string, args ...any) error {
	return &Failure{"the compiler left no usable code", fmt.Sprintf(format, args...)}
}

// readCode reads what was left in a directory: one folder with one file. The
// child has ended; links are not followed, and only regular files are read.
func readCode(dir string, most int64) (*code, error) {
	folder, err := only(dir, codeFolder)
	if err != nil {
		return nil, err
	}
	name, err := only(filepath.Join(dir, folder), codeName)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, folder, name)
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, strange("opening its file: %v", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, strange("looking at its file: %v", err)
	case !info.Mode().IsRegular():
		return nil, strange("its file is no file: %v", info.Mode())
	case info.Size() > most:
		return nil, &Failure{Why: Limits{Code: most}.tooMuchCode()}
	}
	b := make([]byte, info.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, strange("reading its file: %v", err)
	}
	if err := checkCode(b, folder); err != nil {
		return nil, strange("%v", err)
	}
	return &code{folder, name, b}, nil
}

// only is the name of the one entry of a directory, which is no link to one.
func only(dir string, pattern *regexp.Regexp) (string, error) {
	d, err := os.OpenFile(dir, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_DIRECTORY, 0)
	if err != nil {
		return "", strange("opening its folder: %v", err)
	}
	defer d.Close()
	names, err := d.Readdirnames(2)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return "", strange("reading its folder: %v", err)
	case len(names) != 1:
		return "", strange("%d files or more where one is expected", len(names))
	case !pattern.MatchString(names[0]):
		return "", strange("a file called %q", names[0])
	}
	return names[0], nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checkCode checks that a file is as wazero 1.12 writes it, to the last byte.
// The engine believes the numbers in there and asks for as much memory.
func checkCode(b []byte, folder string) error {
	r := bytes.NewReader(b)
	var functions, sum, clauses uint32
	var length, offset uint64
	head := make([]byte, 7)
	if _, err := io.ReadFull(r, head); err != nil || string(head[:6]) != "WAZEVO" {
		return errors.New("the file does not begin as code does")
	}
	version := make([]byte, head[6])
	if _, err := io.ReadFull(r, version); err != nil {
		return errors.New("the file ends in the version")
	}
	if want := "wazero-" + string(version) + "-" + runtime.GOARCH + "-" + runtime.GOOS; folder != want {
		return fmt.Errorf("the code of version %q is in the folder %s", version, folder)
	}
	if err := binary.Read(r, binary.LittleEndian, &functions); err != nil || int64(functions)*8 > int64(r.Len()) {
		return fmt.Errorf("the file is too short for %d functions", functions)
	}
	offsets := b[len(b)-r.Len():][:int(functions)*8]
	_, _ = r.Seek(int64(len(offsets)), io.SeekCurrent)
	if err := binary.Read(r, binary.LittleEndian, &length); err != nil || length > uint64(r.Len()) {
		return fmt.Errorf("the file is too short for %d bytes of code", length)
	}
	for o := offsets; len(o) > 0; o = o[8:] {
		next := binary.LittleEndian.Uint64(o)
		if next < offset || next >= length {
			return errors.New("a function is not in the code")
		}
		offset = next
	}
	machine := b[len(b)-r.Len():][:length]
	_, _ = r.Seek(int64(length), io.SeekCurrent)
	if length > 0 {
		if err := binary.Read(r, binary.LittleEndian, &sum); err != nil || sum != crc32.Checksum(machine, castagnoli) {
			return errors.New("the checksum does not match the code")
		}
	} else if err := binary.Read(r, binary.LittleEndian, &sum); err != nil || sum != 0 {
		return errors.New("the checksum does not match the code")
	}
	sourceMap, err := r.ReadByte()
	if err != nil || sourceMap != 0 {
		return errors.New("the file has a source map, which was not asked for")
	}
	if err := binary.Read(r, binary.LittleEndian, &clauses); err != nil || clauses != 0 || r.Len() != 0 {
		return errors.New("something follows the code")
	}
	return nil
}

// install puts the code into the cache under its name, whole or not at all,
// and remembers that the module was compiled.
func (c *code) install(w *workdir, cache string, module []byte) error {
	keep := func(err error) error {
		return fmt.Errorf("its code could not be kept in the compile cache %s: %w; make room there and let us write to it", cache, err)
	}
	folder := filepath.Join(cache, c.folder)
	if info, err := os.Lstat(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return keep(err)
	} else if err == nil && !info.IsDir() {
		return keep(fmt.Errorf("%s is not a directory", folder))
	} else if err != nil {
		if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return keep(err)
		}
	}
	// It is written again, by us: the child's file may still be open somewhere.
	whole := filepath.Join(w.path, "code")
	f, err := os.OpenFile(whole, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return keep(err)
	}
	_, err = f.Write(c.bytes)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(whole, filepath.Join(folder, c.name))
	}
	if err == nil {
		err = os.WriteFile(markerPath(folder, module), nil, 0o600)
	}
	if err != nil {
		return keep(firstOf(err))
	}
	return nil
}

// Compiled reports whether Compile has put the code of a module into a compile
// cache. The code may be gone or damaged since, so it is for the engine to say
// whether it can be had. It may be called from any goroutine.
func Compiled(cache string, module []byte) bool {
	entries, _ := os.ReadDir(cache)
	for _, e := range entries {
		if !codeFolder.MatchString(e.Name()) {
			continue
		}
		if _, err := os.Lstat(markerPath(filepath.Join(cache, e.Name()), module)); err == nil {
			return true
		}
	}
	return false
}

// Empty removes all code from a compile cache, for when it is damaged. Others
// may be using it: they compile again.
func Empty(cache string) {
	entries, _ := os.ReadDir(cache)
	for _, e := range entries {
		if !codeFolder.MatchString(e.Name()) {
			continue
		}
		folder := filepath.Join(cache, e.Name())
		files, _ := os.ReadDir(folder)
		for _, f := range files {
			_ = os.Remove(filepath.Join(folder, f.Name()))
		}
	}
}

// markerPath is the file that says that a module was compiled. The engine
// calls its files otherwise.
func markerPath(folder string, module []byte) string {
	sum := sha256.Sum256(module)
	return filepath.Join(folder, hex.EncodeToString(sum[:])+".compiled")
}
