package host_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/internal/hosttest"

	"golang.org/x/sys/unix"
)

// inOwnNetwork runs the test once more in a process that has a network namespace of its own, whose
// loopback interface is down, and reports whether this is that process. Elsewhere the test is over.
func inOwnNetwork(t *testing.T) bool {
	t.Helper()
	const helper = "BULKHEAD_TEST_NETWORK"
	if os.Getenv(helper) == t.Name() {
		return true
	}
	c := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	c.Env = append(os.Environ(), helper+"="+t.Name())
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := c.CombinedOutput()
	switch _, failed := errors.AsType[*exec.ExitError](err); {
	case failed:
		t.Errorf("%v\n%s", err, out)
	case err != nil:
		t.Skip("there are no namespaces for this test:", err)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("%s", out)
	}
	return false
}

// ethernet makes a pair of interfaces, of which the one called name has an address with a netmask
// of 24 bits.
func ethernet(name, addr string) error {
	attribute := func(kind uint16, value []byte) []byte {
		b := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofRtAttr+len(value)))
		b = append(binary.NativeEndian.AppendUint16(b, kind), value...)
		return append(b, make([]byte, (unix.RTA_ALIGNTO-len(b)%unix.RTA_ALIGNTO)%unix.RTA_ALIGNTO)...)
	}
	body := make([]byte, unix.SizeofIfInfomsg)
	body = append(body, attribute(unix.IFLA_IFNAME, []byte(name+"\x00"))...)
	body = append(body, attribute(unix.IFLA_LINKINFO, attribute(unix.IFLA_INFO_KIND, []byte("veth\x00")))...)
	head := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	head = binary.NativeEndian.AppendUint16(head, unix.RTM_NEWLINK)
	head = binary.NativeEndian.AppendUint16(head, unix.NLM_F_REQUEST|unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	head = append(head, make([]byte, 8)...)
	netlink, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(netlink)
	if err := unix.Sendto(netlink, append(head, body...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 4096)
	if n, _, err := unix.Recvfrom(netlink, answer, 0); err != nil || n < unix.SizeofNlMsghdr+4 {
		return fmt.Errorf("%d bytes: %w", n, err)
	}
	if code := int32(binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:])); code != 0 {
		return unix.Errno(-code)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	set := func(request uint, name, addr string) error {
		r, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		if request == unix.SIOCSIFFLAGS {
			r.SetUint16(unix.IFF_UP)
		} else if err := r.SetInet4Addr(net.ParseIP(addr).To4()); err != nil {
			return err
		}
		return unix.IoctlIfreq(fd, request, r)
	}
	return errors.Join(set(unix.SIOCSIFADDR, name, addr), set(unix.SIOCSIFNETMASK, name, "255.255.255.0"), set(unix.SIOCSIFFLAGS, "lo", ""),
		set(unix.SIOCSIFFLAGS, name, ""), set(unix.SIOCSIFFLAGS, "veth0", ""))
}

// Whoever asks by broadcast, as discovery does, is answered from an address of this machine, by a
// listener on all addresses of one family and of both: once, though each loop has a socket.
func TestAnswersToABroadcast(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	const own = "10.9.0.1"
	if err := ethernet("d0", own); err != nil {
		t.Skip("there is no network for this test:", err)
	}
	for _, network := range []string{"udp4", "udp"} {
		text := strings.Replace(udpConfig(t, datagrams(), "connection", "", ""), "udp4://127.0.0.1:0", network+"://:0", 1)
		h := hosttest.Serve(t, text, host.Options{})
		_, port, err := net.SplitHostPort(h.Addr("udp"))
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range []string{own, "10.9.0.255", "255.255.255.255"} {
			// Go's sockets have SO_BROADCAST.
			c, err := net.ListenPacket("udp4", own+":0")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(time.Minute))
			at, err := net.ResolveUDPAddr("udp4", net.JoinHostPort(to, port))
			if err != nil {
				t.Fatal(err)
			}
			for _, what := range []string{"anybody?", "again"} {
				if _, err := c.WriteTo([]byte(what), at); err != nil {
					t.Fatalf("%s to %s: %v", network, to, err)
				}
				buf := make([]byte, 100)
				n, from, err := c.ReadFrom(buf)
				if err != nil || string(buf[:n]) != what || from.String() != net.JoinHostPort(own, port) {
					t.Fatalf("%s to %s, of port %s: %q from %v: %v", network, to, port, buf[:n], from, err)
				}
			}
		}
		if st := h.Stats().Listeners[0]; len(st.DatagramsLost) > 0 || st.Accepted != 3 {
			t.Errorf("%s: %d peers; lost: %+v", network, st.Accepted, st.DatagramsLost)
		}
	}
}
