package host_test

import (
	"errors"
	"fmt"
	"net"
	"testing"

	"bulkhead/host"
	"bulkhead/internal/hosttest"

	"golang.org/x/sys/unix"
)

// ownAddress gives loopback a public address, in a network of the process's own.
func ownAddress(addr string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	up := func(name string) error {
		r, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		r.SetUint16(unix.IFF_UP)
		return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
	}
	r, err := unix.NewIfreq("lo:1")
	if err != nil {
		return err
	}
	return errors.Join(up("lo"), r.SetInet4Addr(net.ParseIP(addr).To4()), unix.IoctlIfreq(fd, unix.SIOCSIFADDR, r), up("lo:1"))
}

// A public address of this machine leads past the firewall in front of it, to what
// listens here. It is dialled only when it is listed by itself, by whatever way: as it is,
// as an IPv6 address, or by a name that has public addresses and private ones.
func TestEscapeToOwnAddress(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	const own, far = "93.184.216.34", "93.184.216.35"
	if err := ownAddress(own); err != nil {
		t.Skip("there is no network for this test:", err)
	}
	up := echoServer(t, "tcp", own+":0").Addr().String()
	_, port, _ := net.SplitHostPort(up)
	names := &many{names: map[string][][]string{
		"own.example": {{own}}, "both.example": {{"127.0.0.1", "10.0.0.1", own, "::1"}}, "mapped.example": {{"::ffff:" + own}},
	}}
	for _, list := range []string{
		`"0.0.0.0/0:*", "[::/0]:*", "*.example:*"`,
		`"93.184.216.0/24:*", "*.example:*"`,
		fmt.Sprintf(`"%s:1-10", "93.184.216.34/31:%s", "*.example:*"`, own, port), // with other ports, or its neighbour
	} {
		h := served(t, dialler(false), "connection", list, host.Options{Resolver: names})
		for _, to := range []string{own, "own.example", "both.example", "mapped.example"} {
			if got := dials(t, h, "tcp://"+to+":"+port); got != "!F" {
				t.Errorf("with %s, %s is answered with %q", list, to, got)
			}
		}
		if got := dials(t, h, "tcp://[::ffff:"+own+"]:"+port); got != "!F" {
			t.Errorf("with %s, its IPv6 form is answered with %q", list, got)
		}
		hosttest.Eventually(t, "nothing is open", func() bool { return h.Stats().Connections == 0 })
	}
	h := served(t, dialler(false), "connection", fmt.Sprintf(`"%s:%s", "*.example:*", "%s/31:*"`, own, port, own), host.Options{Resolver: names})
	for _, to := range []string{own, "own.example", "both.example", "mapped.example", "[::ffff:" + own + "]"} {
		if got := dials(t, h, "tcp://"+to+":"+port); got != "=A" {
			t.Errorf("listed by itself, %s is answered with %q", to, got)
		}
	}
	// All of a network that is on loopback is this machine.
	if got := dials(t, h, "tcp://"+far+":"+port); got != "!F" {
		t.Errorf("its neighbour is answered with %q", got)
	}
}
