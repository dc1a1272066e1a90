package guard

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"bulkhead/internal/confined"
	"bulkhead/internal/privatefile"
)

// ReadToken reads a token from a file: one line, with or without its end. The file belongs to this
// process's user or root, and nobody else may read it or write to it. A link is followed. The error
// says what to do, and has nothing of what the file holds.
func ReadToken(path string) (Token, error) {
	// A pipe does not hold up whoever reads it.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		var of *fs.PathError
		if errors.As(err, &of) {
			err = of.Err
		}
		if errors.Is(err, fs.ErrNotExist) {
			return Token{}, fmt.Errorf("%s: %w; make it, for the user that the daemon runs as alone: (umask 077; openssl rand -hex 32 > %s)", path, err, path)
		}
		mend := cmp.Or(confined.Mend(err, path, false), fmt.Sprintf("this process is of user %d: give the file to that one", os.Geteuid()))
		return Token{}, fmt.Errorf("%s: %w; %s", path, err, mend)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Token{}, err
	}
	switch {
	case !info.Mode().IsRegular():
		return Token{}, fmt.Errorf("%s is no file; name one", path)
	case !privatefile.OwnedByUs(info):
		return Token{}, fmt.Errorf("%s belongs to another user, who could read it; say chown %d %s", path, os.Geteuid(), path)
	case info.Mode().Perm()&0o077 != 0:
		return Token{}, fmt.Errorf("%s can be used by others (mode %04o); say chmod go= %s, and make another token, since they may have read this one", path, info.Mode().Perm(), path)
	}
	text, err := io.ReadAll(io.LimitReader(f, MostToken+3))
	if err != nil {
		return Token{}, fmt.Errorf("reading %s: %w", path, err)
	}
	t, err := ParseToken(strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"))
	if err != nil {
		return Token{}, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}
