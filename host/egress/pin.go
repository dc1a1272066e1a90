package egress

import "path/filepath"

// pinned is a socket that a path led to.
type pinned struct {
	path    string // its own path, without links
	dial    string // what to dial: leads there still when the path does not
	release func() // when it has been dialled
}

// pinPath follows the links of a path once. The result can still be exchanged
// by whoever may write to its folders.
func pinPath(path string) (pinned, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return pinned{}, err
	}
	return pinned{path: real, dial: real, release: func() {}}, nil
}
