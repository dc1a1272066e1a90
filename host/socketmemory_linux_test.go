package host_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"bulkhead/host"
	"bulkhead/internal/hosttest"

	"golang.org/x/sys/unix"
)

// heldAt is what the system says that this process's connections at a port of this machine hold:
// bytes to be sent and bytes that were not read, with its own overhead.
func heldAt(t testing.TB, port int) (held int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range fds {
		fd, _ := strconv.Atoi(one.Name())
		at, err := unix.Getsockname(fd)
		if a, ok := at.(*unix.SockaddrInet4); err != nil || !ok || a.Port != port {
			continue
		}
		var info [9]uint32 // SO_MEMINFO
		length := uint32(unsafe.Sizeof(info))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&length)), 0)
		if errno == 0 {
			held += int(info[0] + info[5])
		}
	}
	return held
}

// Clients that send and do not read, once their connections have become fast, have the system hold
// megabytes each. With a limit it holds no more than that says, nobody is closed, and each
// gets every byte when it reads again.
func TestSocketMemory(t *testing.T) {
	const clients, quick = 12, 6 << 20
	// What each may hold in any case, what it moves and grows between two looks, which is more
	// where the loop comes late to them, and the overhead of the last segment of 64 KiB each way.
	// Without a limit it is some 10 MiB.
	const limit, each = 1 << 20, (128+128)<<10 + 18*(64<<10)
	flood := func(t *testing.T, limit string, until func(held int, st host.TenantStats) bool) {
		h := hosttest.Serve(t, fmt.Sprintf(`
[host]
state = %q
loops = 2
[tenant.acme]
bandwidth = "100GiB/s"
socket_memory = %q
[[listener]]
name = "echo"
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = %q
write_timeout = "0s"
min_rate = "0B/s"
`, hosttest.State(), limit, plugin(t, "echo/echo.wasm")), host.Options{})
		to, err := net.ResolveTCPAddr("tcp", h.Addr("echo"))
		if err != nil {
			t.Fatal(err)
		}
		piece := make([]byte, 64<<10)
		var conns []net.Conn
		var ready, done sync.WaitGroup
		var stop atomic.Bool
		goOn := make(chan struct{})
		for range clients {
			c, err := net.Dial("tcp", to.String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			conns = append(conns, c)
			var sent atomic.Int64
			ready.Add(1)
			done.Go(func() { // it sends all the time
				for !stop.Load() {
					n, err := c.Write(piece)
					if sent.Add(int64(n)); err != nil {
						t.Errorf("sending: %v", err)
						return
					}
				}
				_ = c.(*net.TCPConn).CloseWrite()
			})
			done.Go(func() { // and reads for a while
				n, err := io.CopyN(io.Discard, c, quick)
				ready.Done()
				if err != nil {
					t.Errorf("reading: %v", err)
					return
				}
				<-goOn
				more, err := io.Copy(io.Discard, c)
				if n += more; err != nil || n != sent.Load() {
					t.Errorf("%d bytes came of %d: %v", n, sent.Load(), err)
				}
			})
		}
		ready.Wait()
		held := 0
		hosttest.Eventually(t, "the system holds what was wanted", func() bool {
			held = heldAt(t, to.Port)
			return until(held, h.Stats().Tenants[0])
		})
		t.Logf("with %s the system holds %d bytes", limit, held)
		stop.Store(true)
		close(goOn)
		done.Wait()
		for _, c := range conns {
			c.Close()
		}
		hosttest.Eventually(t, "all is given back", func() bool {
			st := h.Stats().Tenants[0]
			return st.SocketMemory == 0 && st.Connections == 0
		})
	}
	t.Run("with room", func(t *testing.T) {
		flood(t, "1GiB", func(held int, st host.TenantStats) bool {
			if st.SocketMemoryRefused > 0 {
				t.Errorf("the share refused with %d bytes taken", st.SocketMemory)
				return true
			}
			return st.SocketMemory > 2*limit // a busy machine has buffers grow less
		})
	})
	t.Run("without", func(t *testing.T) {
		looks := 0
		flood(t, "1MiB", func(held int, st host.TenantStats) bool {
			if most := limit + clients*each; held > most {
				t.Errorf("the system holds %d bytes; want %d at most", held, most)
				return true
			}
			if st.SocketMemory > limit {
				t.Errorf("%d bytes are taken of %d", st.SocketMemory, limit)
				return true
			}
			if st.SocketMemoryRefused > 0 && held > clients*(16<<10) {
				looks++
			}
			return looks > 20
		})
	})
}
