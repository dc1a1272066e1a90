package host_test

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
	"bulkhead/selector"

	"golang.org/x/sys/unix"
)

// obeys is tally, but for data that begins with
//
//	b  sends until nothing more is taken, and again whenever there is room
//	f  says producerFinished
//	n  sends on a handle that it does not have, and answers then
//	p  stops receiving
//	s  never ends
//	x  leaves it unconsumed
func obeys(letter byte) *w.Module {
	m, f := w.Handler([2]string{"send", "iii:i"}, [2]string{"control", "ii:i"}, [2]string{"receive", "ii:i"})
	send, control, receive := f[0], f[1], f[2]
	const count, answer = 64, 128
	m.Data(answer, string(letter))
	first := func(c byte, then ...[]byte) []byte {
		return w.Cat(w.I32Const(w.WindowAt), w.I32Load8U(0), w.I32Const(int32(c)), w.I32Eq, w.If(then...))
	}
	fill := w.Loop(w.LocalGet(0), w.I32Const(0), w.I32Const(16384), w.Call(send), w.I32Const(0), w.I32GtS, w.BrIf(0))
	m.Func("csa_data", "ii:i", "",
		first('b', fill, w.LocalGet(1), w.Return),
		first('f', w.LocalGet(0), w.I32Const(0), w.Call(control), w.Drop, w.LocalGet(1), w.Return),
		first('n', w.I32Const(77), w.I32Const(0), w.I32Const(1), w.Call(send), w.Drop),
		first('p', w.LocalGet(0), w.I32Const(0), w.Call(receive), w.Drop, w.LocalGet(1), w.Return),
		first('s', w.Forever()),
		first('x', w.I32Const(0), w.Return),
		w.I32Const(answer), w.I32Const(count), w.I32Load(0), w.I32Const('0'), w.I32Add, w.I32Store8(1),
		w.I32Const(count), w.I32Const(count), w.I32Load(0), w.I32Const(1), w.I32Add, w.I32Store(0),
		w.LocalGet(0), w.I32Const(answer), w.I32Const(2), w.Call(send), w.Drop, w.LocalGet(1))
	m.Func("csa_writable", "i:", "", fill)
	return m
}

// changing is a host of which one key is changed while a connection is there.
type changing struct {
	*lives
	clock *selector.Manual
	conn  net.Conn // as it was before the change
	kept  net.Conn // what do has made
	extra any
}

// inPlaceCase changes one key of the listener "it".
type inPlaceCase struct {
	before, after string // values in TOML; "" leaves the key out
	more          string // keys beside it
	address       string // "": TCP
	plugin        string // "": obeys
	do            func(c *changing)
	see           func(c *changing)
}

// ends advances the clock until a connection has ended by the cause, which has to be within the
// time. That is to be long, where the kernel has a say in what moves: it does not go by the clock.
func (c *changing) ends(cause string, within time.Duration) {
	c.t.Helper()
	var passed time.Duration
	hosttest.Eventually(c.t, "a connection has ended by "+cause, func() bool {
		if c.ended(cause) > 0 {
			return true
		}
		if passed < within {
			passed += 15 * time.Second
			c.clock.Advance(15 * time.Second)
		}
		return false
	})
}

func (c *changing) ended(cause string) int64 {
	for _, l := range c.h.Stats().Listeners {
		if l.Name == "it" {
			return l.Ended[cause]
		}
	}
	return 0
}

// fresh is a new connection, which is served.
func (c *changing) fresh() net.Conn {
	c.t.Helper()
	conn := c.dial("it")
	c.ask(conn, "k0")
	return conn
}

// closes wants a new connection to be closed by the cause.
func (c *changing) closes(cause string) {
	c.t.Helper()
	before := c.ended(cause)
	conn := c.dial("it")
	hosttest.HearOrError(c.t, conn, "")
	hosttest.Eventually(c.t, "it is closed by "+cause, func() bool { return c.ended(cause) > before })
	c.turn() // else the one that comes next may be accepted in this turn, at its time
}

// turn waits until each loop has done what has come to it.
func (c *changing) turn() {
	c.t.Helper()
	if err := c.h.Turn(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
}

// option wants the listening sockets, and the connections, to have a socket option.
func option(level, name int, good func(n int) bool) func(*changing) {
	return func(c *changing) {
		sockets, connections := c.h.Descriptors("it")
		if len(sockets) == 0 || len(connections) == 0 && c.conn.RemoteAddr().Network() == "tcp" {
			c.t.Fatalf("sockets %v, connections %v", sockets, connections)
		}
		for _, fd := range slices.Concat(sockets, connections) {
			if n, err := unix.GetsockoptInt(fd, level, name); err != nil || !good(n) {
				c.t.Errorf("descriptor %d of %v and %v: the option is %d, %v", fd, sockets, connections, n, err)
			}
		}
	}
}

func lost(c *changing) {
	n := 0
	hosttest.Eventually(c.t, "a datagram is lost", func() bool {
		if n++; n < 10 {
			hosttest.Say(c.t, c.kept, strings.Repeat("y", 3000))
		}
		for _, l := range c.h.Stats().Listeners {
			if l.Name == "it" && l.DatagramsLost["waiting"] > 0 {
				return true
			}
		}
		return false
	})
}

func pauses(c *changing) {
	c.kept = c.dialUDP()
	hosttest.Say(c.t, c.kept, "p")
}

func (c *changing) dialUDP() net.Conn {
	conn, err := net.Dial("udp", c.h.Addr("it"))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	return conn
}

func saysAfter(what string) func(*changing) {
	return func(c *changing) {
		c.kept = c.dial("it")
		c.ask(c.kept, "k0")
		hosttest.Say(c.t, c.kept, what)
	}
}

// fills has a connection whose peer takes nothing, with as much as can wait.
func fills(c *changing) {
	saysAfter("b")(c)
	c.quiet()
}

// quiet waits until the tenant's memory stays as it is.
func (c *changing) quiet() (memory int64) {
	same := 0
	hosttest.Eventually(c.t, "memory stays as it is", func() bool {
		now := c.h.Stats().Tenants[0].Memory
		if same++; now != memory {
			memory, same = now, 0
		}
		return same == 20
	})
	return memory
}

func silent(c *changing) {
	c.kept = c.dial("it")
	hosttest.Eventually(c.t, "it is there", func() bool { return c.h.Stats().Connections == 2 })
}

func proxied(c *changing, from string) net.Conn {
	conn := c.dial("it")
	hosttest.Say(c.t, conn, "PROXY TCP6 "+from+" 2001:db8::9 1 2\r\n?")
	return conn
}

const udpAddress, unixAddress = "udp://127.0.0.1:0", "unix://it.sock"

// inPlaceCases has one for each key of a listener that changes in place, but for those of
// WebSocket, which webSocketInPlaceCases has.
var inPlaceCases = map[string]inPlaceCase{
	"proxy_from": {after: `["127.0.0.1"]`, see: func(c *changing) {
		hosttest.Hear(c.t, proxied(c, "2001:db8::1"), "k0")
		c.ask(c.conn, "k2")
	}},
	"per_source": {before: "0", after: "1", see: func(c *changing) {
		c.fresh()
		c.closes("source")
	}},
	"per_source_rate": {before: "0", after: "1", see: func(c *changing) {
		c.fresh()
		c.closes("source")
		c.clock.Advance(2 * time.Second)
		c.fresh()
	}},
	"per_source_prefix": {before: "64", after: "128", more: "per_source = 1\nproxy_from = [\"127.0.0.1\"]", do: func(c *changing) {
		c.kept = proxied(c, "2001:db8:1::1")
		hosttest.Hear(c.t, c.kept, "k0")
		hosttest.HearOrError(c.t, proxied(c, "2001:db8:1::2"), "")
	}, see: func(c *changing) {
		for _, from := range []string{"2001:db8:2::1", "2001:db8:2::2"} {
			hosttest.Hear(c.t, proxied(c, from), "k0")
		}
	}},
	"idle_timeout":       {before: `"720h"`, after: `"1m"`, see: func(c *changing) { c.ends("idle_timeout", 100*time.Hour) }},
	"first_byte_timeout": {before: `"1h"`, after: `"0s"`, do: silent, see: func(c *changing) { c.clock.Advance(90 * time.Minute); c.ask(c.kept, "k0") }},
	"write_timeout":      {before: `"0s"`, after: `"1m"`, more: `min_rate = "0B/s"`, do: fills, see: func(c *changing) { c.ends("write_timeout", 100*time.Hour) }},
	"min_rate":           {before: `"0B/s"`, after: `"100B/s"`, do: saysAfter("x"), see: func(c *changing) { c.ends("unconsumed", 100*time.Hour) }},
	"lifetime":           {before: `"0s"`, after: `"1m"`, see: func(c *changing) { c.ends("lifetime", 100*time.Hour) }},
	"connect_timeout": {before: `"1h"`, after: `"1m"`, plugin: "dials.wasm", do: func(c *changing) {
		mute, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			c.t.Fatal(err)
		}
		c.t.Cleanup(func() { mute.Close() })
		c.extra = "tls://localhost:" + fmt.Sprint(mute.Addr().(*net.TCPAddr).Port)
	}, see: func(c *changing) {
		hosttest.Say(c.t, c.conn, c.extra.(string))
		heard := make(chan string)
		go func() {
			b := make([]byte, 1)
			n, _ := c.conn.Read(b)
			heard <- string(b[:n])
		}()
		var passed time.Duration
		hosttest.Eventually(c.t, "the dialling is over", func() bool {
			if passed < 10*time.Minute {
				passed += 10 * time.Second
				c.clock.Advance(10 * time.Second)
			}
			select {
			case s := <-heard:
				if s != "!" {
					c.t.Errorf("it says %q", s)
				}
				return true
			default:
				return false
			}
		})
	}},
	"event_timeout": {before: `"1m"`, after: `"5ms"`, do: saysAfter("s"), see: func(c *changing) { c.ends("event_timeout", 0) }},
	"linger": {before: `"10m"`, after: `"1m"`, see: func(c *changing) {
		saysAfter("f")(c)
		hosttest.HearEnd(c.t, c.kept)
		c.ends("finished", 5*time.Minute)
	}},
	"old_for": {before: `"720h"`, after: `"0s"`, see: func(c *changing) {
		c.mustReload(inPlaceFile("old_for", inPlaceCase{plugin: "other.wasm", after: `"0s"`}, `"0s"`))
		hosttest.HearEnd(c.t, c.conn)
	}},
	"generations": {before: "3", after: "1", see: func(c *changing) {
		c.mustReload(inPlaceFile("generations", inPlaceCase{plugin: "other.wasm"}, "1"))
		c.mustReload(inPlaceFile("generations", inPlaceCase{plugin: "obeys.wasm"}, "1"))
		hosttest.Eventually(c.t, "the oldest is over", func() bool {
			c.clock.Advance(time.Second)
			return c.h.Stats().Connections == 0
		})
		hosttest.HearEnd(c.t, c.conn)
	}},
	"inbox": {before: `"4KiB"`, after: `"8MiB"`, more: "write_timeout = \"0s\"\nmin_rate = \"0B/s\"", do: func(c *changing) {
		fills(c)
		c.extra = c.quiet()
	}, see: func(c *changing) {
		hosttest.Eventually(c.t, "the handler has filled the rest", func() bool { return c.h.Stats().Tenants[0].Memory > c.extra.(int64)+(4<<20) })
	}},
	"waiting_datagrams": {before: "1024", after: "1", address: udpAddress, do: pauses, see: lost},
	"waiting_bytes":     {before: `"1MiB"`, after: `"4KiB"`, address: udpAddress, do: pauses, see: lost},
	"receive_buffer":    {before: `"256KiB"`, after: `"8KiB"`, address: udpAddress, see: option(unix.SOL_SOCKET, unix.SO_RCVBUF, func(n int) bool { return n == 16<<10 })},
	"send_buffer":       {before: `"0B"`, after: `"32KiB"`, see: option(unix.SOL_SOCKET, unix.SO_SNDBUF, func(n int) bool { return n == 64<<10 })},
	"on_bad_data": {before: `"close"`, after: `"log"`, see: func(c *changing) {
		hosttest.Say(c.t, c.conn, "n")
		hosttest.Hear(c.t, c.conn, "k2")
	}},
	"backlog": {before: "4096", after: "7", see: func(c *changing) {
		sockets, _ := c.h.Descriptors("it")
		for _, fd := range sockets {
			// A listening socket has the length of its queue there.
			if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err != nil || info.Sacked != 7 {
				c.t.Errorf("the queue has room for %d: %v", info.Sacked, err)
			}
		}
	}},
	"mode": {before: `"0600"`, after: `"0660"`, address: unixAddress, see: func(c *changing) {
		if info, err := os.Stat(filepath.Join(c.dir, "it.sock")); err != nil || info.Mode().Perm() != 0o660 {
			c.t.Errorf("the file is %v, %v", info, err)
		}
	}},
	"owner": {after: fmt.Sprintf(`"%d:%d"`, mayGive(os.Geteuid()), mayGive(os.Getegid())), address: unixAddress, see: func(c *changing) {
		info, err := os.Stat(filepath.Join(c.dir, "it.sock"))
		if err != nil {
			c.t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != mayGive(os.Geteuid()) || int(st.Gid) != mayGive(os.Getegid()) {
			c.t.Errorf("the file is %d's", st.Uid)
		}
	}},
	"keepalive":     {before: `"15s"`, after: `"77s"`, see: option(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, func(n int) bool { return n == 77 })},
	"notsent_lowat": {before: `"256KiB"`, after: `"0B"`, see: option(unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, func(n int) bool { return n != 256<<10 })},
	"user_timeout": {before: `"30s"`, after: `"2m"`, see: func(c *changing) {
		for _, s := range c.h.Settings("it") {
			if s.UserTimeout != 2*time.Minute {
				c.t.Errorf("a connection has a user_timeout of %v", s.UserTimeout)
			}
		}
	}},
	"route_timeout": {before: `"10m"`, after: `"1m"`, more: "", do: silent, see: func(c *changing) {
		c.ends("route_timeout", 5*time.Minute)
		c.ask(c.conn, "k2")
	}},
}

// mayGive is whom root gives a file to, and others have it from.
func mayGive(id int) int {
	if os.Geteuid() == 0 {
		return 12345
	}
	return id
}

// inPlaceFile is a configuration with a value of a case's key, which is left out where that is "".
func inPlaceFile(key string, c inPlaceCase, value string) string {
	if value != "" {
		value = key + " = " + value + "\n"
	}
	plugin := c.plugin
	if plugin == "" {
		plugin = "obeys.wasm"
	}
	if key != "idle_timeout" {
		value += "idle_timeout = \"720h\"\n"
	}
	if key != "lifetime" {
		value += "lifetime = \"0s\"\n"
	}
	file := strings.Replace(acme, "\n", "\nconnect = [\"localhost:*\"]\n", 1) + listenerOf("first", "other.wasm", "")
	it := listenerOf("it", plugin, value+c.more)
	if c.address != "" {
		it = strings.Replace(it, "tcp://127.0.0.1:0", c.address, 1)
		if c.address == udpAddress {
			it = strings.Replace(it, "lifetime = \"0s\"\n", "", 1)
		}
	}
	if key == "route_timeout" {
		it += "[[listener.route]]\nplugin = \"obeys.wasm\"\nfirst = [\"?\"]\n"
	}
	return file + it
}

// Each key that changes in place does: a connection that was there before goes on with its
// instance, no generation is made, and the new value is in force. A key without a case fails.
func TestReloadInPlace(t *testing.T) {
	files := map[string][]byte{"obeys.wasm": obeys('k').Bytes(), "other.wasm": tally('o').Bytes(), "dials.wasm": dialler(false).Bytes()}
	keys := slices.DeleteFunc(config.KeysThat(config.InPlace)["[[listener]]"], func(key string) bool {
		return key == "tls" // a table, whose keys TestReloadOfTLSInPlace changes one by one
	})
	cases := maps.Clone(inPlaceCases)
	maps.Copy(cases, webSocketInPlaceCases)
	for key := range cases {
		if !slices.Contains(keys, key) {
			t.Errorf("%s does not change in place", key)
		}
	}
	for _, key := range keys {
		t.Run(key, func(t *testing.T) {
			c, ok := cases[key]
			if !ok {
				t.Fatal("it changes in place, and has no case here")
			}
			before, after := inPlaceFile(key, c, c.before), inPlaceFile(key, c, c.after)
			if before == after {
				t.Fatal("nothing changes")
			}
			clock := &selector.Manual{}
			l := newLives(t, files, before, host.Options{Clock: clock})
			hosttest.Eventually(t, "nobody is connected", func() bool { return l.h.Stats().Connections == 0 })
			now := &changing{lives: l, clock: clock}
			switch {
			case c.address == udpAddress:
				now.conn = now.dialUDP()
			case c.address == unixAddress:
				now.conn = hosttest.DialUnix(t, filepath.Join(l.dir, "it.sock"))
			case c.address == wsAddress:
				now.conn = now.upgraded()
			case strings.Contains(c.more, "proxy_from"):
				now.conn = proxied(now, "2001:db8::77")
				hosttest.Hear(t, now.conn, "k0")
			default:
				now.conn = l.dial("it")
			}
			answers := c.plugin == ""
			if answers && !strings.Contains(c.more, "proxy_from") {
				l.ask(now.conn, "k0")
			}
			if c.do != nil {
				c.do(now)
			}
			l.mustReload(after)
			now.turn() // the loops have told the connections
			if answers {
				l.ask(now.conn, "k1")
			}
			if n := l.h.Stats().RetiredGenerations; n != 0 {
				t.Errorf("%d generations are retired", n)
			}
			c.see(now)
		})
	}
}

// A socket's file that somebody has removed cannot have another mode: the reload fails, names the
// line, and what was changed of other sockets is as it was.
func TestReloadInPlaceFails(t *testing.T) {
	of := func(backlog, mode string) string {
		return acme + listenerOf("it", "a.wasm", backlog) + strings.Replace(listenerOf("file", "a.wasm", mode), "tcp://127.0.0.1:0", unixAddress, 1)
	}
	l := newLives(t, map[string][]byte{"a.wasm": tally('a').Bytes()}, of("backlog = 9", `mode = "0600"`), host.Options{})
	if err := os.Remove(filepath.Join(l.dir, "it.sock")); err != nil {
		t.Fatal(err)
	}
	err := l.reload(of("backlog = 5", `mode = "0660"`))
	if err == nil || !strings.Contains(err.Error(), `host.toml:17: listener "file": `) || !strings.Contains(err.Error(), "it.sock is not there any more") {
		t.Errorf("a file that is not there: %v", err)
	}
	sockets, _ := l.h.Descriptors("it")
	for _, fd := range sockets {
		if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err != nil || info.Sacked != 9 {
			t.Errorf("the queue has room for %d: %v", info.Sacked, err)
		}
	}
}

// Thousands of connections go by a new value, each exactly once, and those of an earlier
// generation, too.
func TestReloadInPlaceOfMany(t *testing.T) {
	const many = 700 // more than a loop visits in a turn
	of := func(plugin, idle string) string {
		return acme + listenerOf("it", plugin, "idle_timeout = "+idle)
	}
	clock := &selector.Manual{}
	l := newLives(t, map[string][]byte{"a.wasm": tally('a').Bytes(), "b.wasm": tally('b').Bytes()}, of("a.wasm", `"100h"`), host.Options{Clock: clock})
	var all []net.Conn
	for range many {
		all = append(all, l.dial("it"))
	}
	l.ask(all[0], "a0")
	hosttest.Eventually(t, "all are there", func() bool { return l.h.Stats().Connections == many })
	l.mustReload(of("b.wasm", `"100h"`))
	young := l.dial("it")
	l.ask(young, "b0")
	l.mustReload(of("b.wasm", `"1m"`))
	l.ask(all[0], "a1")
	l.ask(young, "b1")
	if n := l.h.Stats().RetiredGenerations; n != 1 {
		t.Errorf("%d generations are retired", n)
	}
	hosttest.Eventually(t, "all go by the new value", func() bool {
		settings := l.h.Settings("it")
		return len(settings) == many+1 && !slices.ContainsFunc(settings, func(s host.CSASettings) bool { return s.IdleTimeout != time.Minute })
	})
	hosttest.Eventually(t, "all are over", func() bool {
		clock.Advance(10 * time.Second)
		return l.h.Stats().Connections == 0
	})
}

// A route's own key holds at once, as its listener's does, and routes are as they were.
func TestReloadInPlaceOfRoutes(t *testing.T) {
	of := func(idle string) string {
		return acme + listenerOf("it", "a.wasm", `idle_timeout = "100h"`) + "[[listener.route]]\nfirst = [\"B\"]\nplugin = \"b.wasm\"\nidle_timeout = " + idle + "\n"
	}
	clock := &selector.Manual{}
	l := newLives(t, map[string][]byte{"a.wasm": tally('a').Bytes(), "b.wasm": tally('b').Bytes()}, of(`"100h"`), host.Options{Clock: clock})
	rest, routed := l.dial("it"), l.dial("it")
	l.ask(rest, "a0")
	hosttest.Say(t, routed, "B")
	hosttest.Hear(t, routed, "b0")
	l.mustReload(of(`"1m"`))
	l.ask(routed, "b1")
	l.ask(rest, "a1")
	if n := l.h.Stats().RetiredGenerations; n != 0 {
		t.Errorf("%d generations are retired", n)
	}
	hosttest.Eventually(t, "the route's is over", func() bool {
		clock.Advance(10 * time.Second)
		return l.h.Stats().Connections == 1
	})
	hosttest.HearEnd(t, routed)
	l.ask(rest, "a2")
}
