package examples_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/internal/awaittest"
	"bulkhead/internal/hosttest"
)

func serveRESP(t *testing.T, config ...string) *host.Host {
	t.Helper()
	h, _ := serveOne(t, "resp", "resp/resp.wasm", append([]string{`instance = "listener"`, "[listener.config]"}, config...)...)
	return h
}

// redisClient is a client of RESP2.
type redisClient struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func dialRESP(t *testing.T, network, address string) *redisClient {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(5 * time.Minute))
	return &redisClient{t, c, bufio.NewReader(c)}
}

// command is one as an array of words.
func command(words ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	return b.String()
}

// answer reads one, with arrays in brackets; errors and nil are told from values.
func (c *redisClient) answer() string {
	c.t.Helper()
	line, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("reading an answer: %v (after %q)", err, line)
	}
	line, ok := strings.CutSuffix(line, "\r\n")
	if !ok || line == "" {
		c.t.Fatalf("a line of an answer is %q", line)
	}
	if line[0] == '+' || line[0] == '-' || line[0] == ':' {
		return line
	}
	n, err := strconv.Atoi(line[1:])
	switch {
	case err != nil:
		c.t.Fatalf("a line of an answer is %q", line)
	case n < 0:
		return "nil"
	case line[0] == '$':
		b := make([]byte, n+2)
		if _, err := io.ReadFull(c.r, b); err != nil || string(b[n:]) != "\r\n" {
			c.t.Fatalf("a value of %d bytes: %v", n, err)
		}
		return strconv.Quote(string(b[:n]))
	case line[0] == '*':
		items := make([]string, n)
		for i := range items {
			items[i] = c.answer()
		}
		return "[" + strings.Join(items, " ") + "]"
	}
	c.t.Fatalf("a line of an answer is %q", line)
	return ""
}

func (c *redisClient) do(words ...string) string {
	c.t.Helper()
	hosttest.Say(c.t, c.Conn, command(words...))
	return c.answer()
}

func (c *redisClient) wants(want string, words ...string) {
	c.t.Helper()
	if got := c.do(words...); got != want {
		c.t.Errorf("%.100q: %.200s, want %.200s", words, got, want)
	}
}

// What one client sets another gets. A client that asks much at once, and reads nothing meanwhile,
// gets all answers.
func TestRESP(t *testing.T) {
	h := serveRESP(t)
	a, b := dialRESP(t, "tcp", h.Addr("resp")), dialRESP(t, "tcp", h.Addr("resp"))
	a.wants("+OK", "set", "key", "a\r\nvalue\x00")
	b.wants(`"a\r\nvalue\x00"`, "get", "key")

	const rounds, size = 100, 50_000 // answers of 10 MB, which nothing on the way holds
	value := strings.Repeat("v", size)
	said := make(chan error, 1)
	go func() {
		_, err := io.WriteString(a, strings.Repeat(command("SET", "large", value)+"GET large\r\n"+command("INCR", "n")+command("GET", "large"), rounds))
		said <- err
	}()
	for i := range rounds {
		for _, want := range []string{"+OK", strconv.Quote(value), fmt.Sprintf(":%d", i+1), strconv.Quote(value)} {
			if got := a.answer(); got != want {
				t.Fatalf("round %d: %.100s, want %.100s", i, got, want)
			}
		}
	}
	if err := <-said; err != nil {
		t.Fatal(err)
	}
	b.wants(fmt.Sprintf(":%d", rounds+1), "incr", "n")

	// Values that the window has no room for, and commands of many words.
	largest := strings.Repeat("x", 1<<20)
	b.wants("+OK", "set", "largest", largest)
	b.wants(strconv.Quote(largest), "get", "largest")
	b.wants("-ERR string exceeds maximum allowed size (proto-max-bulk-len)", "append", "largest", "x")
	b.wants(":3", append([]string{"del", "key", "large", "n"}, slices.Repeat([]string{"none"}, 1000)...)...)
	b.wants("+OK", append([]string{"mset"}, slices.Repeat([]string{"many", strings.Repeat("y", 1000)}, 500)...)...)
	b.wants(":1000", "strlen", "many")
}

// Memory is bounded, whoever fills it: keys, halves of commands, answers that nobody reads.
func TestRESPMemory(t *testing.T) {
	h := serveRESP(t, "max_memory = 1048576", "max_value = 262144")
	c := dialRESP(t, "tcp", h.Addr("resp"))
	const full = "-OOM command not allowed when used memory > 'maxmemory'."
	value := strings.Repeat("v", 10_000)
	kept := 0
	for ; ; kept++ {
		if got := c.do("set", fmt.Sprint("key", kept), value); got == full {
			break
		} else if got != "+OK" {
			t.Fatal(got)
		}
	}
	if kept < 90 || kept > 104 {
		t.Errorf("%d keys of 10 KB fill 1 MiB", kept)
	}
	c.wants(full, "append", "key0", strings.Repeat("v", 100_000))
	c.wants(full, "mset", "new", value)
	c.wants(full, "getset", "key1", strings.Repeat("v", 100_000))
	c.wants(strconv.Quote(value), "get", "key1")
	c.wants(":1", "del", "key2")
	c.wants("+OK", "set", "new", value)

	// The beginnings of commands may take as much again, and no more.
	var halves []*redisClient
	for range 12 {
		half := dialRESP(t, "tcp", h.Addr("resp"))
		hosttest.Say(t, half.Conn, "*2\r\n$3\r\nGET\r\n$200000\r\n"+strings.Repeat("x", 150_000))
		halves = append(halves, half)
	}
	ends := make(chan string, len(halves))
	for _, half := range halves {
		go func() {
			b, _ := io.ReadAll(half)
			ends <- string(b)
		}()
	}
	if got := <-ends; got != full+"\r\n" {
		t.Errorf("half a command: %q", got)
	}
	for _, half := range halves {
		half.Close()
	}
	for range len(halves) - 1 {
		<-ends
	}

	// So do answers that a client does not read, when they are more than twice as much.
	c.wants("+OK", "flushall")
	c.wants("+OK", "set", "large", strings.Repeat("v", 250_000))
	var deaf []*redisClient
	ended := func() bool { return strings.Contains(c.do("info"), `connected_clients:1\r\n`) }
	for range 20 {
		d := dialRESP(t, "tcp", h.Addr("resp"))
		_ = d.Conn.(*net.TCPConn).SetReadBuffer(4096)
		deaf = append(deaf, d)
		go io.WriteString(d, strings.Repeat("get large\r\n", 1000))
	}
	awaittest.Until(t, "a client that does not read is closed", func() bool { return !strings.Contains(c.do("info"), `connected_clients:21\r\n`) })
	for _, d := range deaf {
		d.Close()
	}
	awaittest.Until(t, "the others have gone", ended)
	c.wants("+OK", "flushall")
	if info := c.do("info"); !strings.Contains(info, `used_memory:0\r\n`) {
		t.Errorf("with nothing in it there is in use: %s", info)
	}
}

// With a password nobody does anything without it.
func TestRESPPassword(t *testing.T) {
	h := serveRESP(t, `password = "secret"`)
	c := dialRESP(t, "tcp", h.Addr("resp"))
	c.wants("-NOAUTH Authentication required.", "get", "a")
	c.wants("-NOAUTH Authentication required.", "flushall")
	c.wants("-WRONGPASS invalid username-password pair or user is disabled.", "auth", "secre")
	c.wants("-WRONGPASS invalid username-password pair or user is disabled.", "auth", "secretsecret")
	c.wants("-WRONGPASS invalid username-password pair or user is disabled.", "hello", "2", "auth", "ann", "secret")
	c.wants("-NOAUTH Authentication required.", "ping")
	c.wants("+OK", "auth", "secret")
	c.wants("nil", "get", "a")
	d := dialRESP(t, "tcp", h.Addr("resp"))
	if got := d.do("hello", "2", "auth", "default", "secret", "setname", "me"); !strings.Contains(got, `"proto" :2 `) {
		t.Error(got)
	}
	d.wants(`"me"`, "client", "getname")
	d.wants("+OK", "auth", "default", "secret")
}

// same are commands that Redis answers in the same way, a connection for each list.
var same = [][]string{
	{"ping", "PING there", "ping a b", "echo", "echo hello", `echo "\x41\n\t\"\\"`, `echo 'it\'s \n'`, "ECHO ''", "select 0", "select 1", "select x"},
	{"get", "get a b", "nonsense", "nonsense a 'b c'", "verylongnonsensethatisnocommand x", `"x\r\n" a`, "client nonsense", "client setname a b c", "config nonsense", "config get"},
	{"get a", "set a 1", "get a", "SeT a 2", "get a", "set a", "set a 1 2", "set a 1 nx", "set b 1 nx", "set c 1 xx", "get c", "set b 2 xx", "get b",
		"set b 3 nx xx", "set b 3 get", "set c 4 get", "set c 5 nx get", "set c 6 xx get", "get c", "set a 1 ex", "set a 1 ex 0", "set a 1 ex -1", "set a 1 ex x", "set a 1 px 0",
		"set a 1 ex 10 px 10", "set a 1 ex 10 keepttl", "set a 1 ex 9223372036854775807", "set a 1 keepttl", "ttl a", "set a 1 ex 100", "ttl a", "set a 2 keepttl", "ttl a", "set a 3", "ttl a"},
	{"setnx a 1", "setnx a 2", "get a", "setex a 0 1", "setex a 100 b", "ttl a", "get a", "psetex a 0 1", "psetex a 100000 c", "ttl a", "get a", "setex a x 1", "getset a d", "ttl a",
		"getset new 1", "getdel new", "getdel new", "mset a 1 b 2 a 3", "mset a", "mset a 1 b", "mget a b none", "mget"},
	{"incr a", "incr a", "incrby a 10", "decr a", "decrby a 20", "get a", "incrby a x", "incrby a 1.5", "incrby a 9223372036854775808", "set a 9223372036854775807", "incr a", "get a",
		"decrby a 1", "set a -9223372036854775808", "decr a", "decrby a -9223372036854775808", "set a 01", "incr a", "set a ' 1'", "incr a", "set a +1", "incr a", "set a -0", "incr a", "set a 1x", "incr a",
		"set a ''", "incr a", "set a -5", "incr a", "set a 10 ex 100", "incr a", "ttl a"},
	{"append a hello", "append a ' world'", "get a", "strlen a", "strlen none", "append a", "type a", "type none", "exists a", "exists a a none", "exists", "del a none a", "del", "exists a", "unlink a",
		"set a 1", "set b 2", "unlink a b c", "dbsize"},
	{"ttl none", "pttl none", "set a 1", "ttl a", "pttl a", "expire a 100", "ttl a", "persist a", "persist a", "persist none", "ttl a", "expire none 1", "expire a x", "expire a 9223372036854775807",
		"pexpire a 100000", "ttl a", "expire a 0", "get a", "set a 1", "pexpire a -1", "exists a", "expire a", "set a 1 px 1500", "ttl a"},
	{"set hello 1", "keys nothing*", "keys hello", "keys h?llo", "keys h*o", "keys h*x", "keys h[ae]llo", "keys h[^a]llo", "keys h[a-f]llo", "keys h[f-a]llo", `keys h\\ello`, `keys 'h[\\e]llo'`, "keys h[e", "keys *",
		"keys hell[o", "keys hell[", `keys hello\\`, "keys", "set h*llo 1", `keys h\\*llo`, "flushall", "keys *", "dbsize", "set a 1", "flushdb async", "dbsize", "flushall sync", "flushall now", "flushall now then"},
	{"client getname", "client setname me", "client getname", "client setname ''", "client getname", `client setname 'a b'`, "command count x", "config get appendonly", "hello x", "hello 2 nonsense",
		"quit"},
	{"*0", "*-1", "", "   ", "*1\r\n$4\r\nPING", "*1\r\n$-1"},
	{"*x"}, {"*99999999999"}, {"*1\r\n:1"}, {"*1\r\n$x"}, {"*1\r\n$-5"}, {"*1\r\n$99999999999"}, {`echo "a`}, {`echo 'a'b`}, {`echo "\xg0"`}, {"*1\r\n$1234567890123456789012345678901234567890"},
}

// Redis itself answers as the handler does, to the letter.
func TestRESPAnswersAsRedisDoes(t *testing.T) {
	hosttest.Need(t, "redis-server", "redis-server")
	if out, err := exec.CommandContext(t.Context(), "redis-server", "--version").Output(); err != nil || !bytes.Contains(out, []byte(" v=7.0.")) {
		t.Skipf("other versions of Redis say some things otherwise: %s (%v)", out, err)
	}
	socket := filepath.Join(t.TempDir(), "redis.sock")
	server := exec.CommandContext(t.Context(), "redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--databases", "1", "--dir", t.TempDir())
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
	awaittest.Until(t, "Redis listens", func() bool {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	h := serveRESP(t)
	for _, list := range same {
		said := strings.Join(list, "\r\n") + "\r\nflushall\r\nquit\r\n"
		var heard [2]string
		for i, at := range [][2]string{{"unix", socket}, {"tcp", h.Addr("resp")}} {
			c := dialRESP(t, at[0], at[1])
			hosttest.Say(t, c.Conn, said)
			b, err := io.ReadAll(c)
			if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !strings.Contains(err.Error(), "reset") {
				t.Fatal(err)
			}
			heard[i] = string(b)
		}
		if heard[0] != heard[1] {
			a, b := strings.SplitAfter(heard[0], "\r\n"), strings.SplitAfter(heard[1], "\r\n")
			i := 0
			for i < min(len(a), len(b)) && a[i] == b[i] {
				i++
			}
			t.Errorf("%.60q: after\n%s\nRedis says %.200q, and the handler %.200q", list[0], strings.Join(a[:i], ""), strings.Join(a[i:], ""), strings.Join(b[i:], ""))
		}
	}
}

// Redis' own clients understand the handler.
func TestRESPClients(t *testing.T) {
	hosttest.Need(t, "redis-cli", "redis-tools")
	hosttest.Need(t, "redis-benchmark", "redis-tools")
	h := serveRESP(t)
	_, port, err := net.SplitHostPort(h.Addr("resp"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		stdin string
		args  []string
		want  string
	}{
		{"", []string{"set", "greeting", "hello"}, "OK\n"},
		{"", []string{"get", "greeting"}, "hello\n"},
		{"value from stdin", []string{"-x", "set", "piped"}, "OK\n"},
		{"get piped\nincr n\nget none\nfoo\n", nil, "value from stdin\n1\n\nERR unknown command 'foo', with args beginning with: \n\n"},
		{"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\nINCR a\r\n", []string{"--pipe"}, "errors: 0, replies: 2\n"},
		{"", []string{"--no-raw", "mget", "greeting", "none"}, "1) \"hello\"\n2) (nil)\n"},
		{"", []string{"-r", "3", "incr", "n"}, "2\n3\n4\n"},
	} {
		r := hosttest.Run(t, c.stdin, "redis-cli", append([]string{"-p", port}, c.args...)...)
		if r.Code != 0 || !strings.HasSuffix(r.Out, c.want) {
			t.Errorf("redis-cli %q: %v; want %q", c.args, r, c.want)
		}
	}
	r := hosttest.Run(t, "", "redis-benchmark", "-p", port, "-n", "500", "-c", "20", "-P", "8", "-r", "100", "-d", "100", "-t", "ping,set,get,incr,mset", "--csv")
	if r.Code != 0 || strings.Count(r.Out, "\n") != 7 || strings.Contains(strings.ToLower(r.Out), "err") {
		t.Errorf("redis-benchmark: %v", r)
	}
}
