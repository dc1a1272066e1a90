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
	"os"
	"path/filepath"
	"regexp"
	"runtime"

	"golang.org/x/sys/unix"
)

// Code is what a child left, read and checked.
type Code struct {
	// Engine is the name that the child's engine has for it. It is the child's
	// word: ours has to ask for the same one.
	Engine [sha256.Size]byte
	// Bytes are as the engine writes them.
	Bytes []byte

	folder string // of the engine's version, where it was left
}

var (
	codeFolder = regexp.MustCompile(`^wazero-[0-9A-Za-z.+_-]{1,100}$`)
	codeName   = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// strange is a child that left something else than the code of one module.
func strange(format string, args ...any) error {
	return &Failure{Why: "the compiler left no usable code", Detail: fmt.Sprintf(format, args...)}
}

// readCode reads what was left in a directory: one folder with one file. The
// child has ended; links are not followed, and only regular files are read.
func readCode(dir string, most int64) (*Code, error) {
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
	c := &Code{Bytes: b, folder: folder}
	_, _ = hex.Decode(c.Engine[:], []byte(name)) // which codeName has looked at
	return c, nil
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
