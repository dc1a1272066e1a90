package listen

import (
	"time"

	"golang.org/x/sys/unix"
)

// sharesDatagrams says that the system deals datagrams out, by peer, over the sockets that share an
// address.
const sharesDatagrams = true

// Accept takes the next connection off the queue: non-blocking, and closed on
// exec. It answers EAGAIN when there is none.
func (s *Socket) Accept() (int, unix.Sockaddr, error) {
	return unix.Accept4(s.FD, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
}

// Tune gives an accepted connection the options it has not inherited. On
// Linux it has them all.
func Tune(int, Options) {}

// TuneDialled gives a TCP socket that is about to connect its options.
func TuneDialled(fd int, o Options) { _ = tune(fd, o) }

// tune sets the options of a TCP socket. Connections accepted from it inherit
// them, which costs no system call a connection.
func tune(fd int, o Options) error {
	type option struct{ level, name, value int }
	set := []option{{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1}}
	if seconds := int(o.Keepalive / time.Second); seconds > 0 {
		set = append(set,
			option{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			option{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, seconds},
			option{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, seconds},
			option{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepaliveProbes})
	}
	if ms := int(o.UserTimeout / time.Millisecond); ms > 0 {
		set = append(set, option{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, ms})
	}
	for _, x := range set {
		if err := unix.SetsockoptInt(fd, x.level, x.name, x.value); err != nil {
			return err
		}
	}
	return nil
}

const keepaliveProbes = 5

func streamSocket(family int) (int, error) {
	return unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}
