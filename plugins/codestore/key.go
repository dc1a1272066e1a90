package codestore

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
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
	switch named, err := root.Lstat(keyName); {
	case err != nil:
		return nil, err
	case !named.Mode().IsRegular():
		return nil, errors.New("it is no file")
	}
	f, err := openFile(root, keyName)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	owner, known := ownerOf(info)
	switch {
	case !info.Mode().IsRegular():
		return nil, errors.New("it is no file")
	case !known || owner != os.Geteuid():
		return nil, errors.New("it belongs to another user")
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("others may read it: mode %04o", info.Mode().Perm())
	case info.Size() != keySize:
		return nil, fmt.Errorf("it has %d bytes, and not %d", info.Size(), keySize)
	}
	key := make([]byte, keySize)
	if _, err := io.ReadFull(f, key); err != nil {
		return nil, err
	}
	return key, nil
}

// makeKey makes a key, unless there is one by then.
func makeKey(root *os.Root) error {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // which does not fail
	name, err := writeFile(root, key)
	if err != nil {
		return err
	}
	err = root.Link(name, keyName)
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return errors.Join(err, root.Remove(name))
}

// writeFile writes a file that is on the disk when it returns, and gives its name.
func writeFile(root *os.Root, parts ...[]byte) (name string, err error) {
	return writeParts(root, true, parts...)
}

// writeParts is writeFile; without sync the file is on the disk some time later.
func writeParts(root *os.Root, sync bool, parts ...[]byte) (name string, err error) {
	name = writePrefix + rand.Text()
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	for _, p := range parts {
		if err == nil {
			_, err = f.Write(p)
		}
	}
	if err == nil && sync {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		_ = root.Remove(name)
		return "", err
	}
	return name, nil
}
