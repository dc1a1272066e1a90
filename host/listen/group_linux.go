package listen

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// onlyOwnGroups keeps what comes for groups that the socket has not joined from it.
func onlyOwnGroups(fd int) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_ALL, 0)
}

// sayAddressed has the system say to which address each datagram was sent. It notes that when
// a datagram comes, so it has to know before the first can.
func sayAddressed(fd int) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
}

// Layout of struct group_req and struct group_source_req: the interface, and one or two
// struct sockaddr_storage, which are aligned as a pointer is.
const (
	storageAt   = int(unsafe.Sizeof(uintptr(0)))
	storageSize = 128
)

// joinGroup joins a group on an interface, 0 for the one that the system chooses; of one
// source alone if it is valid.
func joinGroup(fd, index int, group, source netip.Addr) error {
	level, option, addresses := unix.IPPROTO_IP, unix.MCAST_JOIN_GROUP, []netip.Addr{group}
	if group.Is6() {
		level = unix.IPPROTO_IPV6
	}
	if source.IsValid() {
		option, addresses = unix.MCAST_JOIN_SOURCE_GROUP, append(addresses, source)
	}
	b := make([]byte, storageAt+len(addresses)*storageSize)
	binary.NativeEndian.PutUint32(b, uint32(index))
	for i, a := range addresses {
		at := b[storageAt+i*storageSize:]
		if a.Is4() {
			binary.NativeEndian.PutUint16(at, unix.AF_INET)
			copy(at[4:], a.AsSlice())
		} else {
			binary.NativeEndian.PutUint16(at, unix.AF_INET6)
			copy(at[8:], a.AsSlice())
		}
	}
	return unix.SetsockoptString(fd, level, option, string(b))
}
