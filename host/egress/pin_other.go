//go:build !linux

package egress

// pin follows the links of path.
func pin(path string) (pinned, error) { return pinPath(path) }
