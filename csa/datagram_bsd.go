//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package csa

import (
	"golang.org/x/sys/unix"
)

// receiver reads datagrams, one by each system call.
type receiver struct {
	buffers [datagramBatch][]byte
	sizes   [datagramBatch]int
	keys    [datagramBatch]peerKey
}

func (r *receiver) init() {
	all := make([]byte, datagramBatch*longestDatagram)
	for i := range r.buffers {
		r.buffers[i] = all[i*longestDatagram:][:longestDatagram]
	}
}

// receive reads what there is, up to datagramBatch datagrams, and says how many came. It
// answers errWouldBlock when none is there.
func (r *receiver) receive(fd int) (n int, err error) {
	for n < datagramBatch {
		size, from, err := unix.Recvfrom(fd, r.buffers[n], unix.MSG_DONTWAIT)
		switch {
		case err == nil:
			r.sizes[n] = size
			r.keys[n] = peerKey{}
			r.keys[n].setPeer(from)
			n++
		case err == unix.EINTR:
		case n > 0:
			return n, nil
		case err == unix.EAGAIN:
			return 0, errWouldBlock
		default:
			return 0, err
		}
	}
	return n, nil
}

// size is how long datagram i is.
func (r *receiver) size(i int) int { return r.sizes[i] }

// incoming is a datagram that has come. Its payload is good until the next receive.
type incoming struct {
	key     peerKey
	payload []byte
	drops   uint32 // how many the system has dropped ever
	counted bool   // drops is known: not here
	toMany  bool   // it was sent to many: not known here
}

// at is datagram i. Which address it was sent to is not known.
func (r *receiver) at(i int, _ bool) incoming {
	return incoming{key: r.keys[i], payload: r.buffers[i][:r.sizes[i]]}
}

// setPeer takes the peer from an address; its port is 0 if that is none of the internet's.
func (k *peerKey) setPeer(from unix.Sockaddr) {
	switch a := from.(type) {
	case *unix.SockaddrInet4:
		k.setIP4(&k.ip, a.Addr)
		k.port = uint16(a.Port)
	case *unix.SockaddrInet6:
		k.ip, k.zone, k.port = a.Addr, a.ZoneId, uint16(a.Port)
	}
}

// sender sends datagrams, one by each system call.
type sender struct {
	payloads [datagramBatch][]byte
	peers    [datagramBatch]*datagramPeer
	six      bool
	n        int
}

func (b *sender) reset() { b.n = 0 }

// forget keeps no peer and no memory of others.
func (b *sender) forget() {
	for i := range b.n {
		b.payloads[i], b.peers[i] = nil, nil
	}
	b.n = 0
}

// add puts a datagram to p behind the others. It is not copied.
func (b *sender) add(s *DatagramSocket, p *datagramPeer, payload []byte) {
	b.payloads[b.n], b.peers[b.n], b.six = payload, p, s.six
	b.n++
}

// send sends what was added, and says how many of them went, in order. With less than all
// comes the error of the next.
func (b *sender) send(fd int) (n int, err error) {
	for n < b.n {
		k := &b.peers[n].key
		var to unix.Sockaddr
		switch {
		case b.peers[n].socket.dialled != nil: // the socket is connected, and takes no address
		case b.six:
			to = &unix.SockaddrInet6{Port: int(k.port), ZoneId: k.zone, Addr: k.ip}
		default:
			to = &unix.SockaddrInet4{Port: int(k.port), Addr: [4]byte(k.ip[12:])}
		}
		switch _, err := unix.SendmsgN(fd, b.payloads[n], nil, to, unix.MSG_DONTWAIT); err {
		case nil:
			n++
		case unix.EINTR:
		case unix.EAGAIN:
			return n, errWouldBlock
		default:
			return n, err
		}
	}
	return n, nil
}

// prepareDatagrams has nothing to ask for.
func prepareDatagrams(*DatagramSocket) {}

// sayAddressed cannot be had.
func sayAddressed(*DatagramSocket) {}
