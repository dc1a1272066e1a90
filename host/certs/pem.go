package certs

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"os"
	"strings"

	"bulkhead/internal/confined"
)

// maxFile is how long a file may be that is read here, in bytes. Files of authorities have
// some hundred kilobytes.
const maxFile = 16 << 20

var (
	byteOrderMark = []byte("\ufeff")
	pemBegin      = []byte("-----BEGIN ")
	glued         = []byte("----------BEGIN ") // the end of one block and the begin of the next
)

// pemFile is what is in a file of PEM.
type pemFile struct {
	path   string
	blocks []*pem.Block
	mode   os.FileMode
	glued  bool // the end of one block and the begin of the next stood on one line
}

// readPEM reads a file. All that begins as a block has to be one: what encoding/pem cannot
// read it leaves out without a word.
func readPEM(path string) (*pemFile, error) {
	b, mode, err := readFile(path)
	if err != nil {
		return nil, err
	}
	f, err := parsePEM(path, b)
	if err != nil {
		return nil, err
	}
	f.mode = mode
	return f, nil
}

func readFile(path string) ([]byte, os.FileMode, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, 0, err
	case info.Size() > maxFile:
		return nil, 0, fmt.Errorf("%s has %d bytes, and %d are the most", path, info.Size(), maxFile)
	}
	b, err := os.ReadFile(path)
	if mend := confined.Mend(err, path, false); mend != "" {
		err = fmt.Errorf("%w; %s", err, mend)
	}
	return b, info.Mode(), err
}

func parsePEM(path string, b []byte) (*pemFile, error) {
	f := &pemFile{path: path}
	switch {
	case bytes.HasPrefix(b, []byte{0xff, 0xfe}) || bytes.HasPrefix(b, []byte{0xfe, 0xff}):
		return nil, fmt.Errorf("%s is UTF-16; save it as plain text", path)
	case len(b) > 1 && b[0] == 0x30 && !bytes.Contains(b, pemBegin):
		return nil, fmt.Errorf("%s is DER, not PEM; make PEM of it with openssl (x509, pkey or crl) -inform der -in %s", path, path)
	}
	// Editors leave these marks at the beginning, and cat then puts them anywhere.
	b = bytes.ReplaceAll(b, byteOrderMark, nil)
	if bytes.Contains(b, glued) {
		f.glued = true
		b = bytes.ReplaceAll(b, glued, []byte("-----\n-----BEGIN "))
	}
	for at := bytes.Index(b, pemBegin); at >= 0; {
		end := len(b)
		if next := bytes.Index(b[at+1:], pemBegin); next >= 0 {
			end = at + 1 + next
		}
		block, _ := pem.Decode(b[at:end])
		if block == nil {
			what, _, _ := bytes.Cut(b[at+len(pemBegin):end], []byte("-----"))
			if len(what) > 40 {
				what = what[:40]
			}
			return nil, fmt.Errorf("%s, line %d: what begins as %q cannot be read; it is cut short or altered, so copy it again", path, 1+bytes.Count(b[:at], []byte("\n")), what)
		}
		f.blocks = append(f.blocks, block)
		if end == len(b) {
			break
		}
		at = end
	}
	return f, nil
}

// certificates are the blocks that are some.
func (f *pemFile) certificates() (all []*pem.Block) {
	for _, b := range f.blocks {
		if b.Type == "CERTIFICATE" {
			all = append(all, b)
		}
	}
	return all
}

// kinds says what there is in the file, for who has named the wrong one.
func (f *pemFile) kinds() string {
	if len(f.blocks) == 0 {
		return "nothing in PEM"
	}
	var all []string
	for _, b := range f.blocks[:min(len(f.blocks), 3)] {
		all = append(all, fmt.Sprintf("%q", b.Type))
	}
	return strings.Join(all, ", ")
}
