//go:build !linux

package admin

import "fmt"

// reach gives a path by which the socket can be named to the system. It is good until done is
// called.
func reach(path string) (short string, done func(), err error) {
	if len(path) < mostPath {
		return path, func() {}, nil
	}
	return "", nil, fmt.Errorf("the path has %d bytes, and the system takes %d for a socket; give [host] state a shorter path", len(path), mostPath-1)
}
