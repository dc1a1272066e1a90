package selector

import (
	"testing"

	"golang.org/x/sys/unix"
)

// datagrams is a pair of sockets that say for each datagram that there is something to read.
func datagrams(t *testing.T) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]) })
	return fds[0], fds[1]
}

// Whoever does not want to read now is not woken again and again by what comes meanwhile, and
// misses nothing by that.
func TestWhatNobodyReadsWakesNobody(t *testing.T) {
	for name, pair := range map[string]func(*testing.T) (a, b int){
		"datagrams": datagrams,
		"stream": func(t *testing.T) (int, int) {
			a, b := pair(t)
			t.Cleanup(func() { unix.Close(a) })
			return a, b
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := running(t, Options{})
			a, b := pair(t)
			p := &probe{}
			got := 0
			drain := func() {
				var buf [16]byte
				for {
					n, err := unix.Read(a, buf[:])
					if err != nil {
						break
					}
					got += n
				}
				p.ReadBlocked()
			}
			on(t, s, func() {
				if err := s.Add(&p.Descriptor, a, p); err != nil {
					t.Error(err)
				}
			})
			for i := range 2 * mostNeedless {
				write(t, b, "x")
				on(t, s, func() {
					if want := i >= mostNeedless; p.muted != want {
						t.Errorf("after %d messages that nobody wanted it is muted: %v; want %v", i+1, p.muted, want)
					}
				})
			}
			// What is known already is told as ever.
			on(t, s, func() { p.NewReader() })
			turns(t, s)
			on(t, s, func() {
				if p.reads != 1 {
					t.Fatalf("asked once, told %d times", p.reads)
				}
				drain()
				if p.muted || got != 2*mostNeedless {
					t.Errorf("it has read %d bytes, and is muted: %v", got, p.muted)
				}
				p.onRead = func() { drain(); p.NewReader() }
				p.NewReader()
			})
			write(t, b, "y")
			turns(t, s)
			on(t, s, func() {
				if got != 2*mostNeedless+1 {
					t.Errorf("%d bytes have been read; want %d", got, 2*mostNeedless+1)
				}
				p.RemoveReader()
				p.onRead = nil
			})
			// What comes between the last read and ReadBlocked is not missed.
			for range 2 * mostNeedless {
				write(t, b, "z")
				turns(t, s)
			}
			on(t, s, func() {
				if !p.muted {
					t.Error("it is not muted")
				}
				var buf [64]byte
				for err := error(nil); err == nil; {
					_, err = unix.Read(a, buf[:])
				}
				write(t, b, "late")
				got = 0
				p.ReadBlocked()
				p.onRead = drain
				p.NewReader()
			})
			turns(t, s)
			on(t, s, func() {
				if got != len("late") {
					t.Errorf("%d bytes of %d that came late were read", got, len("late"))
				}
			})
			// The end of a stream is told even so, and that the peer has gone.
			for range 2 * mostNeedless {
				write(t, b, "z")
				turns(t, s)
			}
			if name == "stream" {
				unix.Shutdown(b, unix.SHUT_WR)
				turns(t, s)
				on(t, s, func() {
					if !p.muted || !p.HungUp() {
						t.Errorf("it is muted: %v, and knows that its peer has hung up: %v", p.muted, p.HungUp())
					}
				})
			}
			on(t, s, func() { p.NewExceptional() })
			unix.Close(b)
			turns(t, s)
			on(t, s, func() {
				if name == "stream" && (!p.muted || p.exceptionals != 1) {
					t.Errorf("it is muted: %v, and was told %d times that its peer has gone", p.muted, p.exceptionals)
				}
				s.Remove(&p.Descriptor)
			})
		})
	}
}
