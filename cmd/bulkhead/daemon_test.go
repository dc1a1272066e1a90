package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"bulkhead/host/admin"
	"bulkhead/internal/awaittest"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long a script waits for what has to come.
const patience = awaittest.Longest

// session is what a script has under way.
type session struct {
	dir   string
	cmd   *exec.Cmd
	done  chan struct{} // closed when the daemon has ended
	peers map[string]net.Conn
	files []io.Closer
	env   []string // of the daemon, besides
	at    int      // how much of the log next has seen

	mu   sync.Mutex
	told []string // what the daemon has told its service manager
}

type sessionKey struct{}

func sessionOf(ts *testscript.TestScript) *session { return ts.Value(sessionKey{}).(*session) }

func (s *session) close() {
	for _, c := range s.peers {
		c.Close()
	}
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		<-s.done
	}
	for _, f := range s.files {
		f.Close()
	}
}

func (s *session) logFile() string { return filepath.Join(s.dir, "log") }

func (s *session) log() string {
	b, _ := os.ReadFile(s.logFile())
	return string(b)
}

// until waits for cond, or fails the script.
func (s *session) until(ts *testscript.TestScript, what string, cond func() bool) {
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("never: %s; the daemon's log:\n%s", what, s.log())
		}
	}
}

func usage(ts *testscript.TestScript, neg bool, args []string, n int, text string) {
	if neg || len(args) != n {
		ts.Fatalf("usage: %s", text)
	}
}

// start runs a program in the background, its output going to the log file.
func (s *session) start(ts *testscript.TestScript, files []*os.File, name string, args ...string) {
	if s.cmd != nil {
		ts.Fatalf("a daemon runs already")
	}
	log, err := os.Create(s.logFile())
	ts.Check(err)
	defer log.Close()
	path, err := exec.LookPath(name)
	ts.Check(err)
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = s.dir, log, log, files
	cmd.Env = append(os.Environ(), s.env...)
	ts.Check(cmd.Start())
	s.cmd, s.done, s.at = cmd, make(chan struct{}), 0
	go func() {
		_ = cmd.Wait()
		close(s.done)
	}()
}

func (s *session) running() bool {
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// listening waits until the daemon's log says where n listeners listen, and
// puts that into the environment.
func (s *session) listening(ts *testscript.TestScript, n int) {
	var addrs map[string]string
	s.until(ts, "the daemon listens", func() bool {
		if !s.running() {
			ts.Fatalf("the daemon has ended:\n%s", s.log())
		}
		addrs = addressesIn(s.log())
		return len(addrs) == n
	})
	for name, addr := range addrs {
		ts.Setenv(name, addr)
	}
}

// addressesIn finds them in a log of JSON or of text.
func addressesIn(log string) map[string]string {
	addrs := make(map[string]string)
	for line := range strings.Lines(log) {
		var l struct{ Msg, Listener, Address string }
		if json.Unmarshal([]byte(line), &l) != nil {
			l.Msg = attr(line, "msg")
			l.Listener, l.Address = attr(line, "listener"), attr(line, "address")
		}
		if l.Msg == "listening" && strings.HasSuffix(line, "\n") {
			addrs[l.Listener] = l.Address
		}
	}
	return addrs
}

// attr finds a word of slog's text.
func attr(line, key string) string {
	for word := range strings.FieldsSeq(line) {
		if v, ok := strings.CutPrefix(word, key+"="); ok {
			return v
		}
	}
	return ""
}

func listeners(ts *testscript.TestScript, file string) int {
	return strings.Count(ts.ReadFile(file), "[[listener]]")
}

func serve(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: serve [FLAG...] FILE")
	}
	s := sessionOf(ts)
	s.start(ts, nil, "bulkhead", append([]string{"run"}, args...)...)
	s.listening(ts, listeners(ts, args[len(args)-1]))
}

// killWorker kills the worker of the daemon with a state folder, or its supervisor. It returns when
// the worker has gone.
func killWorker(ts *testscript.TestScript, neg bool, args []string) {
	supervisor := len(args) == 2 && args[0] == "-supervisor"
	if supervisor {
		args = args[1:]
	}
	usage(ts, neg, args, 1, "kill-worker [-supervisor] STATE")
	var st admin.Status
	sessionOf(ts).until(ts, "the daemon answers", func() bool {
		err := ask(ts.MkAbs(args[0]), "/v1/status", func(body io.Reader) error { return json.NewDecoder(body).Decode(&st) })
		return err == nil
	})
	if st.Worker == nil || st.PID == st.Worker.PID {
		ts.Fatalf("there is no worker: process %d, %+v", st.PID, st.Worker)
	}
	victim := st.Worker.PID
	if supervisor {
		victim = st.PID
	}
	ts.Check(syscall.Kill(victim, syscall.SIGKILL))
	sessionOf(ts).until(ts, "the worker has gone", func() bool {
		err := syscall.Kill(st.Worker.PID, 0)
		return err == syscall.ESRCH || supervisor && hasEnded(st.Worker.PID)
	})
}

// hasEnded reports whether a process is one that nobody has taken leave of.
func hasEnded(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(stat), ") Z ")
}

// ask reads what the daemon with a state folder answers.
func ask(state, path string, read func(body io.Reader) error) error {
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", filepath.Join(state, admin.SocketName))
	}}}
	answer, err := c.Get("http://bulkhead" + path)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	return read(answer.Body)
}

func serveQuietly(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2, "serve-quietly FILE PATH")
	s := sessionOf(ts)
	s.start(ts, nil, "bulkhead", "run", args[0])
	s.until(ts, "the daemon listens", func() bool {
		conn, err := net.Dial("unix", ts.MkAbs(args[1]))
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

func place(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2, "place FILE ADDRESS")
	text := strings.ReplaceAll(ts.ReadFile(args[0]), "$ADDRESS", args[1])
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

func address(ts *testscript.TestScript, addr string) (network, host string) {
	network, host, ok := strings.Cut(addr, "://")
	if !ok {
		ts.Fatalf("%q is no address", addr)
	}
	if network == "fd" { // the name that the listening line has for what was inherited
		network = "tcp"
		if strings.HasPrefix(host, "/") {
			network = "unix"
		}
	}
	return network, host
}

func dial(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2, "dial PEER ADDRESS")
	s := sessionOf(ts)
	network, host := address(ts, args[1])
	conn, err := net.Dial(network, host)
	ts.Check(err)
	ts.Check(conn.SetDeadline(awaittest.Deadline()))
	if s.peers == nil {
		s.peers = make(map[string]net.Conn)
	}
	if s.peers[args[0]] != nil {
		ts.Fatalf("%s is connected already", args[0])
	}
	s.peers[args[0]] = conn
}

func peer(ts *testscript.TestScript, name string) net.Conn {
	c := sessionOf(ts).peers[name]
	if c == nil {
		ts.Fatalf("%s is not connected", name)
	}
	return c
}

func unquoted(ts *testscript.TestScript, s string) string {
	text, err := strconv.Unquote(`"` + s + `"`)
	ts.Check(err)
	return text
}

func say(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2, "say PEER TEXT")
	_, err := io.WriteString(peer(ts, args[0]), unquoted(ts, args[1]))
	ts.Check(err)
}

func hear(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2, "hear PEER TEXT")
	want := unquoted(ts, args[1])
	have := make([]byte, len(want))
	if n, err := io.ReadFull(peer(ts, args[0]), have); err != nil || string(have) != want {
		ts.Fatalf("%s heard %q (%v), want %q", args[0], have[:n], err, want)
	}
}

func finish(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 1, "finish PEER")
	c, ok := peer(ts, args[0]).(interface{ CloseWrite() error })
	if !ok {
		ts.Fatalf("%s cannot finish", args[0])
	}
	ts.Check(c.CloseWrite())
}

// heardAll takes a reset for an end: a daemon that is told to stop now may.
func heardAll(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 1, "heard-all PEER")
	rest, err := io.ReadAll(peer(ts, args[0]))
	if err != nil && !errors.Is(err, syscall.ECONNRESET) || len(rest) > 0 {
		ts.Fatalf("%s heard %q (%v), want the end", args[0], rest, err)
	}
}

func hangup(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 1, "hangup PEER")
	ts.Check(peer(ts, args[0]).Close())
	delete(sessionOf(ts).peers, args[0])
}

func refusedAt(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 1, "refused ADDRESS")
	network, host := address(ts, args[0])
	sessionOf(ts).until(ts, "connections are refused", func() bool {
		conn, err := net.Dial(network, host)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
}

var signals = map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL, "USR1": syscall.SIGUSR1}

func sendSignal(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 1, "signal NAME")
	sig, ok := signals[args[0]]
	if !ok {
		ts.Fatalf("no signal %s here", args[0])
	}
	s := sessionOf(ts)
	if s.cmd == nil || !s.running() {
		ts.Fatalf("no daemon runs; its log:\n%s", s.log())
	}
	ts.Check(s.cmd.Process.Signal(sig))
}

func logged(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 1, "logged REGEXP")
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	s := sessionOf(ts)
	s.until(ts, "the log matches "+args[0], func() bool { return re.MatchString(s.log()) })
}

// has waits until a file matches.
func has(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2, "has FILE REGEXP")
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	sessionOf(ts).until(ts, args[0]+" matches "+args[1], func() bool {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		return err == nil && re.Match(text)
	})
}

func ended(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 1, "ended N")
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	s := sessionOf(ts)
	s.until(ts, "the daemon ends", func() bool { return !s.running() })
	have := s.cmd.ProcessState
	s.cmd = nil
	if have.ExitCode() != want {
		ts.Fatalf("the daemon ended with %v, want status %d; its log:\n%s", have, want, s.log())
	}
	if log := s.log(); bytes.Contains([]byte(log), []byte("panic:")) || strings.Contains(log, "DATA RACE") {
		ts.Fatalf("the daemon's log:\n%s", log)
	}
}

// activate runs the daemon as systemd would with three sockets: one of TCP,
// named web, one of Unix, named local, at the path local.sock, and one of UDP, named
// dns, whose address goes into the environment as dns_udp.
func activate(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 1, "activate FILE")
	s := sessionOf(ts)
	web, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	local, err := net.Listen("unix", filepath.Join(s.dir, "local.sock"))
	ts.Check(err)
	// The file is systemd's, as it were: only the script's end removes it.
	local.(*net.UnixListener).SetUnlinkOnClose(false)
	webFile, err := web.(*net.TCPListener).File()
	ts.Check(err)
	localFile, err := local.(*net.UnixListener).File()
	ts.Check(err)
	dns, err := net.ListenPacket("udp4", "127.0.0.1:0")
	ts.Check(err)
	dnsFile, err := dns.(*net.UDPConn).File()
	ts.Check(err)
	ts.Setenv("dns_udp", "udp://"+dns.LocalAddr().String())
	s.start(ts, []*os.File{webFile, localFile, dnsFile}, "unit", "web:local:dns", "run", args[0])
	// From here on the daemon alone listens.
	for _, c := range []io.Closer{web, local, dns, webFile, localFile, dnsFile} {
		ts.Check(c.Close())
	}
	s.listening(ts, listeners(ts, args[0]))
}

// unit is a process that systemd has just forked: it says in the environment
// which descriptors it has, and becomes bulkhead. Its arguments are the names of
// the descriptors and those of bulkhead.
func unit() {
	path, err := exec.LookPath("bulkhead")
	if err == nil {
		names := os.Args[1]
		env := append(os.Environ(),
			"LISTEN_PID="+strconv.Itoa(os.Getpid()),
			"LISTEN_FDS="+strconv.Itoa(1+strings.Count(names, ":")),
			"LISTEN_FDNAMES="+names)
		err = syscall.Exec(path, append([]string{"bulkhead"}, os.Args[2:]...), env)
	}
	fmt.Fprintln(os.Stderr, "unit:", err)
	os.Exit(3)
}

// manage has the daemons that follow be told of a service manager, who waits half a second for
// signs of life.
func manage(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 1, "manage SOCKET")
	s := sessionOf(ts)
	name := args[0]
	if !strings.HasPrefix(name, "@") {
		name = ts.MkAbs(name)
	}
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	ts.Check(err)
	s.files = append(s.files, c)
	s.env = []string{"NOTIFY_SOCKET=" + name, "WATCHDOG_USEC=500000"}
	go func() {
		for b := make([]byte, 4096); ; {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.told = append(s.told, string(b[:n]))
			s.mu.Unlock()
		}
	}()
}

// told waits until the service manager has been told what matches, one line or several of a
// message, and forgets what it was told until then.
func told(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 1, "told REGEXP")
	re, err := regexp.Compile(args[0])
	ts.Check(err)
	s := sessionOf(ts)
	s.until(ts, "the service manager is told "+args[0], func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for i, message := range s.told {
			if re.MatchString(message) {
				s.told = s.told[i+1:]
				return true
			}
		}
		return false
	})
}
