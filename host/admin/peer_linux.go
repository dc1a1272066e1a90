package admin

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// credentials are the user and the process at the other end of a Unix socket, as it was connected.
func credentials(fd int) (string, error) {
	c, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("process %d of user %d", c.Pid, c.Uid), nil
}
