package host_test

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/awaittest"
	"bulkhead/internal/certstest"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// fuzzGuest is for how long TestFuzzGuest goes on. CI says a minute; an hour is for releases.
var fuzzGuest = flag.Duration("fuzzguest", time.Second, "how long TestFuzzGuest goes on")

// Instructions that wasmtest has no names for.
var (
	i32Add  = []byte{0x6a}
	i32Sub  = []byte{0x6b}
	i32Mul  = []byte{0x6c}
	i32RemU = []byte{0x70}
	i32And  = []byte{0x71}
	i32Xor  = []byte{0x73}
	i32Shl  = []byte{0x74}
	i32ShrU = []byte{0x76}
	memGrow = []byte{0x40, 0}
)

// Where the guest keeps its things. Its window is wasmtest's.
const (
	fuzzHandles = 1024 // 64 of them
	fuzzDialled = 2048 // addresses, 64 bytes each, the last of which is the length
	fuzzName    = 512  // a name, for makessl and count
	fuzzBuffer  = 0x8000
)

// fuzzer is a guest that does anything from any callback: each host function with
// arguments that are mostly good, splices and traps wherever it is, long work, growth, bad answers.
func fuzzer(addresses []string) *w.Module {
	m, f := w.Handler(
		[2]string{"send", "iii:i"}, [2]string{"control", "ii:i"}, [2]string{"receive", "ii:i"}, [2]string{"want", "ii:i"},
		[2]string{"info", "iiii:i"}, [2]string{"config", "ii:i"}, [2]string{"timer", "iii:i"}, [2]string{"connect", "ii:i"},
		[2]string{"makessl", "iiii:i"}, [2]string{"splice", "ii:i"}, [2]string{"clock", "i:I"}, [2]string{"random", "ii:i"},
		[2]string{"log", "iii:i"}, [2]string{"count", "iiI:i"},
	)
	state := m.Global('i', true, w.I32Const(1))
	known := m.Global('i', true, w.I32Const(0))
	// Before it is set, what would keep its listener from serving is left out.
	started := m.Global('i', true, w.I32Const(0))
	m.Data(fuzzName, "localhost")
	for i, a := range addresses {
		m.Data(fuzzDialled+64*i, a+strings.Repeat("\x00", 63-len(a))+string(rune(len(a))))
	}
	random := m.Func("", ":i", "",
		w.GlobalGet(state), w.GlobalGet(state), w.I32Const(13), i32Shl, i32Xor, w.GlobalSet(state),
		w.GlobalGet(state), w.GlobalGet(state), w.I32Const(17), i32ShrU, i32Xor, w.GlobalSet(state),
		w.GlobalGet(state), w.GlobalGet(state), w.I32Const(5), i32Shl, i32Xor, w.GlobalSet(state),
		w.GlobalGet(state))
	below := func(n int32) []byte { return w.Cat(w.Call(random), w.I32Const(n), i32RemU) }
	oneIn := func(n int32, then ...[]byte) []byte { return w.Cat(below(n), w.I32Const(0), w.I32Eq, w.If(then...)) }
	seed := w.Cat(w.I32Const(0), w.I32Const(4), w.Call(f[11]), w.Drop, w.I32Const(0), w.I32Load(0), w.I32Const(1), []byte{0x72}, w.GlobalSet(state))
	add := m.Func("", "i:", "",
		w.GlobalGet(known), w.I32Const(63), i32And, w.I32Const(4), i32Mul, w.LocalGet(0), w.I32Store(fuzzHandles),
		w.GlobalGet(known), w.I32Const(1), i32Add, w.GlobalSet(known))
	pick := m.Func("", ":i", "",
		oneIn(16, w.Call(random), w.Return),
		w.GlobalGet(known), w.I32Const(0), w.I32Eq, w.If(w.Call(random), w.Return),
		w.Call(random), w.GlobalGet(known), i32RemU, w.I32Const(63), i32And, w.I32Const(4), i32Mul, w.I32Load(fuzzHandles))
	acts := [][]byte{
		w.Cat(w.Call(pick), w.I32Const(fuzzBuffer), below(2000), w.Call(f[0]), w.Drop),
		w.Cat(w.Call(pick), w.I32Const(fuzzBuffer), below(30000), w.Call(f[0]), w.Drop),
		oneIn(4, w.Call(pick), below(4), w.Call(f[1]), w.Drop),
		w.Cat(w.Call(pick), below(3), w.Call(f[2]), w.Drop),
		w.Cat(w.Call(pick), w.I32Const(1), w.Call(f[2]), w.Drop),
		w.Cat(w.Call(pick), below(w.WindowSize+10), w.Call(f[3]), w.Drop),
		w.Cat(w.Call(pick), below(18), w.I32Const(fuzzBuffer), below(300), w.Call(f[4]), w.Drop),
		w.Cat(w.I32Const(fuzzBuffer), below(100), w.Call(f[5]), w.Drop),
		w.Cat(w.Call(pick), below(20), below(50), w.I32Const(5), i32Sub, w.Call(f[6]), w.Drop),
		w.Cat(w.I32Const(-1), below(20), below(50), w.I32Const(5), i32Sub, w.Call(f[6]), w.Drop),
		w.Cat(below(int32(len(addresses))), w.I32Const(64), i32Mul, w.I32Const(fuzzDialled), i32Add, w.LocalTee(1),
			w.LocalGet(1), w.I32Load8U(63), w.Call(f[7]), w.LocalTee(1), w.I32Const(0), []byte{0x4a}, w.If(w.LocalGet(1), w.Call(add))),
		oneIn(3, w.Call(pick), w.I32Const(0), w.I32Const(0), w.I32Const(0), w.Call(f[8]), w.Drop),
		oneIn(3, w.Call(pick), w.I32Const(1), w.I32Const(fuzzName), w.I32Const(9), w.Call(f[8]), w.Drop),
		w.Cat(w.Call(pick), w.Call(pick), w.Call(f[9]), w.Drop),
		w.Cat(w.Call(pick), w.LocalGet(0), w.Call(f[9]), w.Drop),
		w.Cat(below(3), w.Call(f[10]), w.Drop),
		w.Cat(w.I32Const(fuzzBuffer), below(30000), w.Call(f[11]), w.Drop),
		w.Cat(below(5), w.I32Const(fuzzBuffer), below(50), w.Call(f[12]), w.Drop),
		w.Cat(w.I32Const(fuzzName), below(10), []byte{0x42, 1}, w.Call(f[13]), w.Drop),
		oneIn(8, w.GlobalGet(started), below(3_000_000), i32Mul, w.LocalSet(1), w.Loop(w.LocalGet(1), w.If(w.LocalGet(1), w.I32Const(1), i32Sub, w.LocalSet(1), w.Br(1)))),
		oneIn(50, w.I32Const(1), memGrow, w.Drop),
		oneIn(50, w.GlobalGet(started), w.If(w.Unreachable)),
		oneIn(50, w.GlobalGet(started), w.If(w.Call(pick), w.I32Const(-100), w.I32Const(1000), w.Call(f[0]), w.Drop)),
	}
	var all []byte // local 2 is which
	for n, a := range acts {
		all = w.Cat(all, w.LocalGet(2), w.I32Const(int32(n)), w.I32Eq, w.If(a))
	}
	// Its parameter is the connection whose event it is, or -1.
	act := m.Func("", "i:", "iii",
		below(5), w.LocalSet(3),
		w.Loop(w.LocalGet(3), w.If(
			w.LocalGet(3), w.I32Const(1), i32Sub, w.LocalSet(3),
			below(int32(len(acts))), w.LocalSet(2),
			all, w.Br(1))))
	does := w.Cat(w.LocalGet(0), w.Call(act))
	alone := w.Cat(w.I32Const(-1), w.Call(act))
	m.Func("csa_start", ":i", "", seed, alone, w.I32Const(1), w.GlobalSet(started), w.I32Const(0))
	m.Func("csa_reseed", ":", "", seed, alone)
	m.Func("csa_open", "i:i", "", w.LocalGet(0), w.Call(add), does, oneIn(100, w.I32Const(-5), w.Return), w.I32Const(0))
	m.Func("csa_data", "ii:i", "", w.LocalGet(0), w.Call(add), does,
		oneIn(500, w.I32Const(-7), w.Return), oneIn(500, w.I32Const(1_000_000), w.Return),
		oneIn(3, w.Call(random), w.LocalGet(1), w.I32Const(1), i32Add, i32RemU, w.Return), oneIn(6, w.I32Const(0), w.Return), w.LocalGet(1))
	m.Func("csa_writable", "i:", "", does)
	m.Func("csa_secured", "ii:", "", does)
	m.Func("csa_eof", "i:", "", does, oneIn(3, w.Return), w.LocalGet(0), w.I32Const(0), w.Call(f[1]), w.Drop)
	m.Func("csa_closed", "ii:", "", does)
	m.Func("csa_timer", "ii:", "", does)
	m.Func("csa_stop", ":", "", alone)
	return m
}

// fuzzUpstreams are servers for what the guest dials: one that echoes and one that only sends,
// plain, with TLS, on a unix socket, and over UDP. It returns their addresses, and some that are
// none.
func fuzzUpstreams(t *testing.T, ca *certstest.Authority, dialled *atomic.Int64) (addresses []string, listed string) {
	t.Helper()
	serve := func(ln net.Listener, source bool) {
		t.Cleanup(func() { ln.Close() })
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				dialled.Add(1)
				go func() {
					defer c.Close()
					_ = c.SetDeadline(time.Now().Add(5 * time.Second))
					p := make([]byte, 8192)
					for n := rand.IntN(2000); n > 0; n-- {
						k := len(p)
						if !source {
							var err error
							if k, err = c.Read(p); err != nil {
								return
							}
						}
						if _, err := c.Write(p[:k]); err != nil || !source && rand.IntN(40) == 0 {
							return
						}
					}
				}()
			}
		}()
	}
	open := func(network, address string) net.Listener {
		ln, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		return ln
	}
	echo, source, secured := open("tcp", "127.0.0.1:0"), open("tcp", "127.0.0.1:0"), open("tcp", "127.0.0.1:0")
	dir, err := os.MkdirTemp("", "fuzz") // whose name is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "up")
	serve(echo, false)
	serve(source, true)
	serve(tls.NewListener(secured, &tls.Config{Certificates: []tls.Certificate{ca.Pair(t, "localhost", "127.0.0.1")}}), false)
	serve(open("unix", path), false)
	_, port, _ := net.SplitHostPort(secured.Addr().String())
	addresses = []string{
		"tcp://" + echo.Addr().String(), "tcp://" + source.Addr().String(), "tls://" + secured.Addr().String(), "tls://localhost:" + port,
		"unix://" + path, "tcp://" + echo.Addr().String() + "?proxy=v1", "tcp://" + echo.Addr().String() + "?proxy=v2",
		"tcp://127.0.0.1:1", "tcp://10.0.0.1:80", "bogus",
		"udp://" + shouter(t).LocalAddr().String(), "udp://localhost:1",
	}
	return addresses, fmt.Sprintf(`"127.0.0.1:*", "localhost:*", "udp://127.0.0.1:*", "udp://localhost:*", "unix://%s"`, path)
}

// fuzzClient is one client after another of a random listener, until the context ends.
func fuzzClient(ctx context.Context, rng *rand.Rand, addrs map[string]string, names []string, served *atomic.Int64) {
	p := make([]byte, 70000)
	for ctx.Err() == nil {
		name := names[rng.IntN(len(names))]
		network := "tcp"
		if strings.HasSuffix(name, "udp") {
			network = "udp"
		}
		raw, err := net.DialTimeout(network, addrs[name], 2*time.Second)
		if err != nil {
			return // the host stops
		}
		served.Add(1)
		c := raw
		_ = raw.SetDeadline(time.Now().Add(3 * time.Second))
		if (strings.HasSuffix(name, ".tls") || strings.HasSuffix(name, ".wss")) && rng.IntN(8) != 0 {
			if secured := tls.Client(raw, &tls.Config{InsecureSkipVerify: true}); secured.Handshake() == nil {
				c = secured
			}
		}
		framed := strings.Contains(name, ".ws") && rng.IntN(8) != 0
		if framed {
			_, _ = io.WriteString(c, upgradeRequest)
		}
		var reads sync.WaitGroup
		if rng.IntN(3) == 0 {
			reads.Go(func() { _, _ = io.Copy(io.Discard, c) })
		}
		for n := rng.IntN(12); n >= 0 && ctx.Err() == nil; n-- {
			size := rng.IntN(100)
			if rng.IntN(6) == 0 {
				size = rng.IntN(len(p))
			}
			if network == "udp" {
				size = min(size, 9000)
			}
			said := p[:size]
			if framed {
				said = fuzzFrame(rng, p[:min(size, 65000)])
			}
			if _, err := c.Write(said); err != nil {
				break
			}
			if rng.IntN(6) == 0 {
				time.Sleep(time.Duration(rng.IntN(15)) * time.Millisecond)
			}
		}
		if tcp, ok := raw.(*net.TCPConn); ok {
			switch rng.IntN(4) {
			case 0:
				_ = tcp.SetLinger(0)
			case 1:
				_ = tcp.CloseWrite()
				time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
			}
		}
		_ = raw.Close()
		reads.Wait()
	}
}

// fuzzFrame is a frame of WebSocket, which is mostly a whole message.
func fuzzFrame(rng *rand.Rand, payload []byte) []byte {
	first := []byte{0x81, 0x82, 0x81, 0x82, 0x01, 0x00, 0x80, 0x89, 0x8a, 0x88, byte(rng.IntN(256))}[rng.IntN(11)]
	if rng.IntN(2) == 0 {
		first = 0x82
	}
	if first&8 != 0 { // a control frame
		payload = payload[:min(len(payload), 125)]
	}
	return []byte(masked(first, string(payload)))
}

// masked is a client's frame, of up to 65,535 bytes.
func masked(first byte, payload string) string {
	length := string([]byte{first, 0x80 | byte(len(payload))})
	if len(payload) > 125 {
		length = string([]byte{first, 0x80 | 126, byte(len(payload) >> 8), byte(len(payload))})
	}
	return length + "\x00\x00\x00\x00" + payload
}

func openDescriptors() int {
	fds, _ := os.ReadDir("/proc/self/fd")
	return len(fds)
}

// fuzzConfig serves a module of the tenant fuzz, who may use cpu cores, in every way in which
// instances are made and over every transport, and an echo of the tenant good. It returns the names
// of the fuzz listeners.
func fuzzConfig(t *testing.T, module *w.Module, listed, cert, key, cpu string) (text string, names []string) {
	t.Helper()
	guest, echo := writeModule(t, module), writeModule(t, w.Echo())
	var toml strings.Builder
	fmt.Fprintf(&toml, `
[host]
state = %q
loops = 2
drain = "200ms"
log_level = "error"
[tenant.good]
[tenant.fuzz]
connect = [%s]
accept_rate = 5000
cpu = %s
memory = "128MiB"
timers = 500
[[listener]]
name = "good"
tenant = "good"
address = "tcp://127.0.0.1:0"
plugin = %q
`, hosttest.State(), listed, cpu, echo)
	for _, kind := range instanceKinds {
		for _, transport := range []string{"tcp", "tls", "starttls", "udp", "ws", "wss"} {
			name, instance, address := kind+"."+transport, kind, "tcp://127.0.0.1:0"
			names = append(names, name)
			if kind == "fresh" {
				instance = "connection"
			}
			switch transport {
			case "udp":
				address = "udp://127.0.0.1:0"
			case "ws", "wss":
				address = transport + "://127.0.0.1:0/echo"
			}
			fmt.Fprintf(&toml, "[[listener]]\nname = %q\ntenant = \"fuzz\"\naddress = %q\nplugin = %q\ninstance = %q\nidle_timeout = \"3s\"\nevent_timeout = \"100ms\"\n",
				name, address, guest, instance)
			if transport != "udp" {
				toml.WriteString("linger = \"500ms\"\n")
			}
			if kind == "fresh" {
				toml.WriteString("snapshot = false\n")
			}
			switch transport {
			case "tls", "starttls", "wss":
				fmt.Fprintf(&toml, "[listener.tls]\ncert = %q\nkey = %q\n", cert, key)
			}
			if transport == "starttls" {
				toml.WriteString("starttls = true\n")
			}
		}
	}
	return toml.String(), names
}

// leastFuzzRound is how long a round is at least, and mostFuzzRounds how many there are at most
// where the guests have not done all that they can within -fuzzguest.
const (
	leastFuzzRound = time.Second
	mostFuzzRounds = 50
)

// Guests that do anything from anywhere, in every way in which instances are made and over every
// transport, find no way to hurt the host: it does not fail, its counts are never
// negative, a neighbour is served, it ends when it is told to in the midst of it, and nothing
// of it is left.
func TestFuzzGuest(t *testing.T) {
	ca, dir := certstest.NewAuthority(t), t.TempDir()
	cert, key := ca.Write(t, dir, "server", "localhost")
	var served, dialled, traps atomic.Int64
	addresses, listed := fuzzUpstreams(t, ca, &dialled)
	toml, names := fuzzConfig(t, fuzzer(addresses), listed, cert, key, "1")
	cfg, err := config.Load(hosttest.WriteConfig(t, toml))
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("the clients' seed is %d", seed)
	end := time.Now().Add(*fuzzGuest)
	all := func() bool { return served.Load() > 0 && dialled.Load() > 0 && traps.Load() > 0 }
	// On a busy machine guests come to little in the time that was given.
	for round := uint64(0); round == 0 || time.Now().Before(end) || !all() && round < mostFuzzRounds; round++ {
		if !fuzzRound(t, cfg, ca, names, max(min(time.Until(end), 20*time.Second), leastFuzzRound), seed+round*100, &served, &traps) {
			break
		}
	}
	t.Logf("%d connections, %d that were dialled, %d traps and stops", served.Load(), dialled.Load(), traps.Load())
	if !all() {
		t.Error("the guests have not done all that they can")
	}
}

// fuzzRound is one host's life.
func fuzzRound(t *testing.T, cfg *config.Config, ca *certstest.Authority, names []string, d time.Duration, seed uint64, served, traps *atomic.Int64) bool {
	t.Helper()
	goroutines, descriptors := runtime.NumGoroutine(), openDescriptors()
	log := &logBook{}
	opts := host.Options{Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelError})), RootCAs: ca.Pool()}
	h, err := host.New(cfg, opts)
	for tries := 1; err != nil && strings.Contains(err.Error(), "event_timeout") && tries < 10; tries++ {
		h, err = host.New(cfg, opts) // on a busy machine a start can take that long
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	addrs := make(map[string]string)
	for _, name := range names {
		addrs[name] = h.Addr(name)
	}
	clients, leave := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for n := range uint64(16) {
		all.Go(func() { fuzzClient(clients, rand.New(rand.NewPCG(seed+n, 1)), addrs, names, served) })
	}
	neighbour := hosttest.Dial(t, h.Addr("good"))
	for until := time.Now().Add(d); time.Now().Before(until) && !t.Failed(); time.Sleep(5 * time.Millisecond) {
		hosttest.Say(t, neighbour, "hello")
		hosttest.Hear(t, neighbour, "hello")
		for _, l := range h.Stats().Listeners {
			if l.Instances < 0 {
				t.Errorf("listener %s: %d instances", l.Name, l.Instances)
			}
		}
	}
	stop() // in the midst of it
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(awaittest.Longest):
		p := make([]byte, 4<<20)
		t.Fatalf("the host does not end:\n%s", p[:runtime.Stack(p, true)])
	}
	leave()
	all.Wait()
	_ = neighbour.Close()
	st := h.Stats()
	if st.HostBugs != 0 || log.has("bug in the host") {
		t.Errorf("%d bugs in the host:\n%s", st.HostBugs, log)
	}
	if st.Connections != 0 || st.Mappings != 0 {
		t.Errorf("%d connections and %d mappings are left", st.Connections, st.Mappings)
	}
	for _, l := range st.Listeners {
		traps.Add(l.Traps + l.LimitStops)
		if l.Instances != 0 {
			t.Errorf("listener %s: %d instances are left", l.Name, l.Instances)
		}
	}
	for _, tenant := range st.Tenants {
		if tenant.Memory != 0 || tenant.Timers != 0 || tenant.Instances != 0 {
			t.Errorf("tenant %s still has %d bytes, %d timers, %d instances", tenant.Name, tenant.Memory, tenant.Timers, tenant.Instances)
		}
	}
	// The servers that were dialled take a moment to see that.
	hosttest.Eventually(t, "goroutines and descriptors are what they were", func() bool {
		return runtime.NumGoroutine() <= goroutines+1 && openDescriptors() <= descriptors+1
	})
	return !t.Failed()
}

// A daemon of its own process ends at SIGTERM in the midst of what the fuzz guest does, whether its
// tenant has CPU time to spare or is far over its cpu, and nothing was wrong with it.
func TestFuzzGuestEndsAtSIGTERM(t *testing.T) {
	rounds := 2
	if *fuzzGuest >= time.Minute {
		rounds = 5
	}
	ca, dir := certstest.NewAuthority(t), t.TempDir()
	cert, key := ca.Write(t, dir, "server", "localhost")
	var served, dialled atomic.Int64
	addresses, listed := fuzzUpstreams(t, ca, &dialled)
	guest := fuzzer(addresses)
	trusted := "SSL_CERT_FILE=" + ca.WriteCA(t, dir, "ca")
	for _, cpu := range []string{"1", "0.05"} {
		for round := range rounds {
			t.Run(fmt.Sprintf("cpu=%s/%d", cpu, round), func(t *testing.T) {
				toml, names := fuzzConfig(t, guest, listed, cert, key, cpu)
				seed := rand.Uint64()
				t.Logf("the clients' seed is %d", seed)
				p := startProcess(t, toml, trusted)
				clients, leave := context.WithCancel(context.Background())
				var all sync.WaitGroup
				defer all.Wait()
				defer leave()
				before, out := served.Load(), dialled.Load()
				for n := range uint64(16) {
					all.Go(func() { fuzzClient(clients, rand.New(rand.NewPCG(seed+n, 1)), p.addrs, names, &served) })
				}
				p.until("the guests are at work", func(h holds) bool {
					return served.Load() > before+50 && dialled.Load() > out && (cpu == "1" || h.held > 0)
				})
				neighbour := hosttest.Dial(t, p.addrs["good"])
				hosttest.Say(t, neighbour, "hello")
				hosttest.Hear(t, neighbour, "hello")
				// It ends in the midst of something else each time.
				time.Sleep(time.Duration(seed%200) * time.Millisecond)
				p.stop()
				if log := p.stderr.String(); strings.Contains(log, "bug in the host") || strings.Contains(log, "goroutine ") {
					t.Errorf("something was wrong with the host:\n%s", log)
				}
			})
		}
	}
}
