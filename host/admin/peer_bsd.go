//go:build darwin || freebsd

package admin

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// credentials are the user at the other end of a Unix socket, as it was connected.
func credentials(fd int) (string, error) {
	c, err := unix.GetsockoptXucred(fd, 0, unix.LOCAL_PEERCRED) // 0: SOL_LOCAL
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("a process of user %d", c.Uid), nil
}
