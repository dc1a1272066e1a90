package codestore

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"bulkhead/internal/privatefile"
)

const keySize = 32

// readKey reads the key of the folder, or makes one. It says which one was of
// no use, so that what was written with it has to be compiled again.
func readKey(root *os.Root, dir string) (key []byte, remade string, err error) {
	key, err = keyIn(root)
	switch {
	case err == nil:
		return key, "", nil
	case !errors.Is(err, fs.ErrNotExist):
		remade = fmt.Sprintf("the key of the compiled code in %s is of no use (%v), so another one is made, and everything is compiled again", dir, err)
		if err := root.RemoveAll(keyName); err != nil {
			return nil, "", fmt.Errorf("removing the key of the compiled code in %s, which is of no use: %w", dir, err)
		}
	}
	if err := makeKey(root); err != nil {
		return nil, "", fmt.Errorf("making the key of the compiled code in %s: %w", dir, err)
	}
	// It may be another process's.
	if key, err = keyIn(root); err != nil {
		return nil, "", fmt.Errorf("reading the key of the compiled code in %s: %w", dir, err)
	}
	return key, remade, nil
}

// keyIn reads the key. The error is fs.ErrNotExist when there is none.
func keyIn(root *os.Root) ([]byte, error) {
	key, err := privatefile.Read(root, keyName, keySize)
	if err == nil && len(key) != keySize {
		return nil, fmt.Errorf("it has %d bytes, and not %d", len(key), keySize)
	}
	return key, err
}

// makeKey makes a key, unless there is one by then.
func makeKey(root *os.Root) error {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // which does not fail
	name, err := writeFile(root, true, key)
	if err != nil {
		return err
	}
	err = root.Link(name, keyName)
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return errors.Join(err, root.Remove(name))
}

// writeFile writes a file, and gives its name. With sync the file is on the disk when it returns;
// without, some time later.
func writeFile(root *os.Root, sync bool, parts ...[]byte) (name string, err error) {
	name = writePrefix + rand.Text()
	return name, privatefile.Create(root, name, sync, parts...)
}
