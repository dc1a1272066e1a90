package admin

import "golang.org/x/sys/unix"

// credentials are the process and the user at the other end of a Unix socket, as it was connected.
func credentials(fd int) (pid, uid int, err error) {
	c, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, 0, err
	}
	return int(c.Pid), int(c.Uid), nil
}
