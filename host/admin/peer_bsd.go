//go:build darwin || freebsd

package admin

import "golang.org/x/sys/unix"

// credentials are the user at the other end of a Unix socket, as it was connected. The process is
// 0: it is not told.
func credentials(fd int) (pid, uid int, err error) {
	c, err := unix.GetsockoptXucred(fd, 0, unix.LOCAL_PEERCRED) // 0: SOL_LOCAL
	if err != nil {
		return 0, 0, err
	}
	return 0, int(c.Uid), nil
}
