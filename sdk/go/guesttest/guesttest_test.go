package guesttest_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"bulkhead/sdk/go"
	"bulkhead/sdk/go/guesttest"
)

// script is a handler of functions, of which any may be missing.
type script struct {
	guest.Base
	start    func(config []byte) error
	open     func(c *guest.Conn) error
	data     func(c *guest.Conn, p []byte) (int, error)
	writable func(c *guest.Conn)
	eof      func(c *guest.Conn)
	closed   func(c *guest.Conn, reason error)
	timer    func(c *guest.Conn, token int32)
	stop     func()
}

func (s *script) Start(config []byte) error {
	if s.start != nil {
		return s.start(config)
	}
	return nil
}

func (s *script) Open(c *guest.Conn) error {
	if s.open != nil {
		return s.open(c)
	}
	return nil
}

func (s *script) Data(c *guest.Conn, p []byte) (int, error) {
	if s.data != nil {
		return s.data(c, p)
	}
	return c.Send(p)
}

func (s *script) Writable(c *guest.Conn) {
	if s.writable != nil {
		s.writable(c)
	}
}

func (s *script) EOF(c *guest.Conn) {
	if s.eof != nil {
		s.eof(c)
		return
	}
	s.Base.EOF(c)
}

func (s *script) Closed(c *guest.Conn, reason error) {
	if s.closed != nil {
		s.closed(c, reason)
	}
}

func (s *script) Timer(c *guest.Conn, token int32) {
	if s.timer != nil {
		s.timer(c, token)
	}
}

func (s *script) Stop() {
	if s.stop != nil {
		s.stop()
	}
}

// echo is the handler of the package's documentation.
type echo struct{ guest.Base }

func (echo) Data(c *guest.Conn, p []byte) (int, error) { return c.Send(p) }

func TestEcho(t *testing.T) {
	h := guesttest.New(t, echo{}, guesttest.Options{Inbox: 10})
	p := h.Connect()
	p.Send("hello")
	p.Expect("hello")
	p.Send("longer than the inbox, much longer")
	if got := p.ReceiveN(4); got != "long" {
		t.Errorf("received %q", got)
	}
	p.CloseWrite() // what is not echoed yet is echoed all the same
	p.Expect("er than the inbox, much longer")
	p.ExpectClosed(nil)
	if n := h.Connections(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

func TestEvents(t *testing.T) {
	h := guesttest.New(t, echo{}, guesttest.Options{Inbox: 4})
	p := h.Connect()
	p.Send("abcdef")
	p.CloseWrite()
	p.Receive()
	want := []string{"csa_open", "csa_data", "csa_writable", "csa_data", "csa_eof", "csa_closed"}
	got := slices.Compact(p.Events())
	if !slices.Equal(got, want) {
		t.Errorf("the callbacks were %v, want %v", got, want)
	}
}

func TestStartAndConfig(t *testing.T) {
	var config string
	s := &script{start: func(c []byte) error { config = string(c); return nil }}
	guesttest.New(t, s, guesttest.Options{})
	if config != "{}" {
		t.Errorf("config is %q", config)
	}
	guesttest.New(t, s, guesttest.Options{Config: `{"a":1}`})
	if config != `{"a":1}` || string(guest.Config()) != config {
		t.Errorf("config is %q, and %q", config, guest.Config())
	}
}

func TestStartRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		handler guest.Handler
		code    guest.Code
		log     string
	}{
		"with a code":    {&script{start: func([]byte) error { return fmt.Errorf("no key: %w", guest.NotFound) }}, guest.NotFound, "start: no key: csa: NOT_FOUND"},
		"without a code": {&script{start: func([]byte) error { return errors.New("greeting is missing") }}, guest.Invalid, "start: greeting is missing"},
		"small window":   {&script{start: func([]byte) error { guest.SetWindow(guest.MinWindow - 1); return nil }}, guest.Invalid, "SetWindow(4095): a window has 4096 to 1048576 bytes"},
		"big window":     {&script{start: func([]byte) error { guest.SetWindow(guest.MaxWindow + 1); return nil }}, guest.Invalid, "SetWindow(1048577): a window has 4096 to 1048576 bytes"},
		"no handler":     {nil, guest.NotFound, "no handler is registered: call guest.Register from an init function"},
		"good":           {echo{}, guest.OK, ""},
	} {
		t.Run(name, func(t *testing.T) {
			code, log := guesttest.Refused(t, test.handler, guesttest.Options{})
			if code != test.code {
				t.Errorf("code is %v, want %v", code, test.code)
			}
			if test.log == "" && len(log) == 0 {
				return
			}
			if len(log) != 1 || log[0] != (guesttest.Line{Level: guest.LogError, Text: test.log}) {
				t.Errorf("logged %v, want %q", log, test.log)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, err := range []error{guest.Refused, fmt.Errorf("banned: %w", guest.Denied), errors.New("plain")} {
		var reason error
		closed := 0
		h := guesttest.New(t, &script{
			open:   func(*guest.Conn) error { return err },
			closed: func(_ *guest.Conn, r error) { reason = r; closed++ },
		}, guesttest.Options{})
		p := h.Connect()
		p.Send("lost")
		want := guest.Invalid
		errors.As(err, &want)
		p.ExpectClosed(want)
		if closed != 1 || reason != error(want) {
			t.Errorf("%v: closed %d times, with %v", err, closed, reason)
		}
		if logged := len(h.Log()) == 1; logged != (want == guest.Invalid) {
			t.Errorf("%v: the log is %v", err, h.Log())
		}
	}
}

func TestDataErrors(t *testing.T) {
	for name, test := range map[string]struct {
		used int
		err  error
		want error
	}{
		"a code":           {0, guest.Denied, guest.Denied},
		"no code":          {0, errors.New("bad"), guest.Invalid},
		"too many":         {6, nil, guest.Invalid},
		"negative":         {-1, nil, guest.Invalid},
		"too many, again":  {6, guest.Again, guest.Invalid},
		"wrapped code":     {0, fmt.Errorf("x: %w", guest.Unsupported), guest.Unsupported},
		"a code of no ABI": {0, guest.Code(-99), guest.Invalid},
	} {
		h := guesttest.New(t, &script{data: func(c *guest.Conn, p []byte) (int, error) {
			_, _ = c.WriteString("dropped")
			return test.used, test.err
		}}, guesttest.Options{})
		p := h.Connect()
		p.Send("hello")
		if reason, closed := p.Closed(); !closed || reason != test.want {
			t.Errorf("%s: closed %v with %v", name, closed, reason)
		}
		p.Expect("")
	}
}

func TestWrappedAgainIsNoError(t *testing.T) {
	h := guesttest.New(t, &script{data: func(c *guest.Conn, p []byte) (int, error) {
		n, err := c.Send(p)
		if err != nil {
			err = fmt.Errorf("sending: %w", err)
		}
		return n, err
	}}, guesttest.Options{Inbox: 3})
	p := h.Connect()
	p.Send("abcdefgh")
	p.Expect("abcdefgh")
}

// The window is shared and overwritten; what is not consumed comes again from
// the host.
func TestUnconsumedComesAgain(t *testing.T) {
	var offers []string
	var kept []byte
	h := guesttest.New(t, &script{data: func(c *guest.Conn, p []byte) (int, error) {
		offers = append(offers, string(p))
		kept = p
		return strings.LastIndexByte(string(p), '\n') + 1, nil
	}}, guesttest.Options{})
	p := h.Connect()
	p.Send("he")
	if kept[0] == 'h' {
		t.Error("the window kept its content")
	}
	p.Send("llo\nwor")
	p.Send("ld")
	p.CloseWrite()
	// After the end: once more, and no more as nothing was consumed.
	want := []string{"he", "hello\nwor", "world", "world"}
	if !slices.Equal(offers, want) {
		t.Errorf("offered %q, want %q", offers, want)
	}
	p.ExpectClosed(nil)
}

func TestLastBytesAreOfferedWhileConsumed(t *testing.T) {
	var offers []string
	ended := false
	h := guesttest.New(t, &script{
		open: func(c *guest.Conn) error { return c.Want(100) },
		data: func(c *guest.Conn, p []byte) (int, error) {
			offers = append(offers, string(p))
			return min(len(p), 2), nil
		},
		eof: func(c *guest.Conn) { ended = true; _ = c.Close() },
	}, guesttest.Options{})
	p := h.Connect()
	p.Send("abcde")
	if len(offers) != 0 {
		t.Fatalf("offered %q before 100 bytes were there", offers)
	}
	p.CloseWrite()
	if want := []string{"abcde", "cde", "e"}; !slices.Equal(offers, want) || !ended {
		t.Errorf("offered %q, ended %v", offers, ended)
	}
}

func TestMessagesAsBigAsTheWindow(t *testing.T) {
	var got int
	h := guesttest.New(t, &script{
		start: func([]byte) error { guest.SetWindow(guest.MinWindow); return nil },
		open: func(c *guest.Conn) error {
			if c.Want(0) != guest.Invalid || c.Want(guest.MinWindow+1) != guest.Invalid {
				t.Error("Want takes anything")
			}
			return c.Want(guest.MinWindow)
		},
		data: func(c *guest.Conn, p []byte) (int, error) { got += len(p); return len(p), nil },
	}, guesttest.Options{})
	p := h.Connect()
	for i := range 3*guest.MinWindow + 5 {
		p.Send("x")
		if got != (i+1)/guest.MinWindow*guest.MinWindow {
			t.Fatalf("%d bytes were handed over after %d", got, i+1)
		}
	}
	p.CloseWrite()
	if got != 3*guest.MinWindow+5 {
		t.Errorf("%d bytes in all", got)
	}
}

func TestPause(t *testing.T) {
	var got []string
	ended := false
	h := guesttest.New(t, &script{
		data: func(c *guest.Conn, p []byte) (int, error) {
			got = append(got, string(p))
			if len(got) == 1 {
				if err := c.Pause(); err != nil {
					t.Error(err)
				}
				return 1, c.SetTimer(7, guest.Second)
			}
			return len(p), nil
		},
		eof:   func(c *guest.Conn) { ended = true },
		timer: func(c *guest.Conn, token int32) { _ = c.Resume() },
	}, guesttest.Options{})
	p := h.Connect()
	p.Send("abc")
	p.Send("def")
	p.CloseWrite()
	if len(got) != 1 || ended {
		t.Fatalf("paused, and yet %q came, ended %v", got, ended)
	}
	h.Advance(guest.Second)
	if !slices.Equal(got, []string{"abc", "bcdef"}) || !ended {
		t.Errorf("got %q, ended %v", got, ended)
	}
}

func TestWriteQueues(t *testing.T) {
	const limit = 100
	var conn *guest.Conn
	writable, data := 0, 0
	h := guesttest.New(t, &script{
		open:     func(c *guest.Conn) error { conn = c; c.SetWriteLimit(limit); return nil },
		writable: func(*guest.Conn) { writable++ },
		data:     func(_ *guest.Conn, p []byte) (int, error) { data++; return len(p), nil },
	}, guesttest.Options{Inbox: 10})
	p := h.Connect()
	write := func(n int) (int, error) {
		t.Helper()
		return conn.Write([]byte(strings.Repeat("w", n)))
	}
	if n, err := write(10 + limit); n != 10+limit || err != nil || conn.Queued() != limit {
		t.Fatal(n, err, conn.Queued())
	}
	if n, err := write(1); n != 0 || !errors.Is(err, guest.Quota) || !strings.Contains(err.Error(), "SetWriteLimit") {
		t.Errorf("beyond the limit: %d, %v", n, err)
	}
	if n, err := conn.Send([]byte("x")); n != 0 || err != guest.Again {
		t.Errorf("Send went past the queue: %d, %v", n, err)
	}
	p.Send("not yet")
	if data != 0 {
		t.Error("data came while an answer waits")
	}
	p.ReceiveN(10)
	if conn.Queued() != limit-10 || writable != 0 {
		t.Errorf("%d queued, %d times writable", conn.Queued(), writable)
	}
	if n, err := write(10); n != 10 || err != nil { // there is room for ten again
		t.Error(n, err)
	}
	p.Expect(strings.Repeat("w", limit+10))
	if conn.Queued() != 0 || writable != 1 || data != 1 {
		t.Errorf("%d queued, %d times writable, %d times data", conn.Queued(), writable, data)
	}
	// One piece longer than inbox and limit together is cut, and says so.
	if n, err := write(10 + limit + 5); n != 10+limit || !errors.Is(err, guest.Quota) {
		t.Errorf("too long: %d, %v", n, err)
	}
	conn.SetWriteLimit(-1)
	if n, err := write(guest.DefaultWriteLimit - limit); err != nil {
		t.Errorf("the default limit: %d, %v", n, err)
	}
}

func TestWriteKeepsTheOrder(t *testing.T) {
	var conn *guest.Conn
	h := guesttest.New(t, &script{open: func(c *guest.Conn) error { conn = c; return nil }}, guesttest.Options{Inbox: 7})
	p := h.Connect()
	var want, got strings.Builder
	for i := range 2000 {
		line := fmt.Sprintf("line %d;", i)
		want.WriteString(line)
		if _, err := conn.WriteString(line); err != nil {
			t.Fatal(err)
		}
		got.WriteString(p.ReceiveN(i % 17))
	}
	_ = conn.Close()
	if _, closed := p.Closed(); closed && conn.Queued() > 0 {
		t.Fatal("closed with bytes in the queue")
	}
	got.WriteString(p.Receive())
	if got.String() != want.String() {
		t.Error("bytes were lost or came out of order")
	}
	p.ExpectClosed(nil)
}

func TestCloseDuringEvents(t *testing.T) {
	events := 0
	h := guesttest.New(t, &script{
		data: func(c *guest.Conn, p []byte) (int, error) {
			events++
			_ = c.SetTimer(1, 0)
			if _, err := c.WriteString("bye"); err != nil {
				t.Error(err)
			}
			if err := errors.Join(c.Close(), c.Close()); err != nil {
				t.Error(err)
			}
			if _, err := c.Write(p); err != guest.Closed {
				t.Errorf("Write after Close: %v", err)
			}
			if _, err := c.Send(p); err != guest.Closed {
				t.Errorf("Send after Close: %v", err)
			}
			return 0, nil
		},
		eof:   func(*guest.Conn) { t.Error("EOF after Close") },
		timer: func(*guest.Conn, int32) { t.Error("Timer after Close") },
	}, guesttest.Options{Inbox: 1})
	p := h.Connect()
	p.Send("x")
	p.Send("more")
	p.CloseWrite()
	h.Advance(guest.Second)
	p.Expect("bye")
	p.ExpectClosed(nil)
	if events != 1 {
		t.Errorf("%d times data", events)
	}
}

func TestAbort(t *testing.T) {
	h := guesttest.New(t, &script{data: func(c *guest.Conn, p []byte) (int, error) {
		_, _ = c.WriteString("this is dropped")
		return len(p), c.Abort()
	}}, guesttest.Options{Inbox: 3})
	p := h.Connect()
	p.Send("x")
	p.Expect("")
	p.ExpectClosed(nil)
}

func TestCloseWrite(t *testing.T) {
	var heard string
	h := guesttest.New(t, &script{
		open: func(c *guest.Conn) error {
			_, _ = c.WriteString("hello")
			if err := errors.Join(c.CloseWrite(), c.CloseWrite()); err != nil {
				t.Error(err)
			}
			if _, err := c.Send(nil); err != guest.Closed {
				t.Errorf("Send after CloseWrite: %v", err)
			}
			return nil
		},
		data: func(c *guest.Conn, p []byte) (int, error) { heard += string(p); return len(p), nil },
		eof:  func(*guest.Conn) {},
	}, guesttest.Options{Inbox: 2})
	p := h.Connect()
	if p.Finished() {
		t.Error("finished before the queue was sent")
	}
	p.Expect("hello")
	if _, closed := p.Closed(); closed || !p.Finished() {
		t.Errorf("closed %v, finished %v", closed, p.Finished())
	}
	p.Send("still heard")
	p.CloseWrite()
	if heard != "still heard" {
		t.Errorf("heard %q", heard)
	}
	p.ExpectClosed(nil)
}

func TestStaleConn(t *testing.T) {
	var conns []*guest.Conn
	h := guesttest.New(t, &script{open: func(c *guest.Conn) error { conns = append(conns, c); return nil }}, guesttest.Options{})
	h.Connect().Drop(guest.Timeout)
	other := h.Connect()
	stale := conns[0]
	_, sent := stale.Send([]byte("x"))
	_, written := stale.WriteString("x")
	for i, err := range []error{sent, written, stale.Close(), stale.Abort(), stale.CloseWrite(), stale.Pause(), stale.Resume(),
		stale.Want(1), stale.SetTimer(1, 0), stale.StopTimer(1)} {
		if !errors.Is(err, guest.BadHandle) {
			t.Errorf("call %d answers %v", i, err)
		}
	}
	if stale.Peer() != "" || stale.Listener() != "" {
		t.Error("a stale connection has a peer")
	}
	other.Expect("")
	if _, closed := other.Closed(); closed {
		t.Error("another connection was hit")
	}
}

func TestClosedTellsWhy(t *testing.T) {
	var reasons []error
	h := guesttest.New(t, &script{closed: func(c *guest.Conn, r error) {
		if c.Value != "mine" {
			t.Errorf("Value is %v", c.Value)
		}
		reasons = append(reasons, r)
	}, open: func(c *guest.Conn) error { c.Value = "mine"; return nil }}, guesttest.Options{})
	h.Connect().Break()
	h.Connect().Drop(guest.Timeout)
	h.Connect().CloseWrite()
	if !slices.Equal(reasons, []error{guest.Reset, guest.Timeout, nil}) {
		t.Errorf("the reasons are %v", reasons)
	}
}

func TestTimers(t *testing.T) {
	type fired struct {
		own   bool
		token int32
		at    guest.Duration
	}
	var got []fired
	var conn *guest.Conn
	var zero guest.Duration
	h := guesttest.New(t, &script{
		start: func([]byte) error {
			zero = guest.Monotonic()
			return guest.SetTimer(-5, 3*guest.Second)
		},
		open: func(c *guest.Conn) error { conn = c; return nil },
		timer: func(c *guest.Conn, token int32) {
			got = append(got, fired{c == nil, token, guest.Monotonic() - zero})
		},
	}, guesttest.Options{})
	p := h.Connect()
	for _, err := range []error{
		conn.SetTimer(1, guest.Second), conn.SetTimer(2, 2*guest.Second), conn.SetTimer(1, 4*guest.Second), // 1 moves
		conn.SetTimer(3, guest.Second), conn.StopTimer(3), conn.StopTimer(99),
		conn.SetTimer(4, 1), // rounded up to a millisecond
		guest.SetTimer(6, guest.Second), guest.StopTimer(6),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	if conn.SetTimer(9, -1) != guest.Invalid || conn.SetTimer(9, guest.MaxDuration+1) != guest.Invalid {
		t.Error("a timer was set for no time at all")
	}
	h.Advance(10 * guest.Second)
	want := []fired{{false, 4, guest.Millisecond}, {false, 2, 2 * guest.Second}, {true, -5, 3 * guest.Second}, {false, 1, 4 * guest.Second}}
	if !slices.Equal(got, want) {
		t.Errorf("fired %v, want %v", got, want)
	}
	for i := range int32(guest.MaxTimers) {
		if err := conn.SetTimer(i, guest.Second); err != nil {
			t.Errorf("timer %d: %v", i, err)
		}
	}
	if err := conn.SetTimer(100, 0); err != guest.Quota {
		t.Errorf("a timer more: %v", err)
	}
	if err := conn.SetTimer(0, guest.Minute); err != nil {
		t.Errorf("moving one of them: %v", err)
	}
	got = nil
	p.Break()
	h.Advance(guest.Hour)
	if len(got) != 0 {
		t.Errorf("timers of a closed connection fired: %v", got)
	}
}

func TestInstanceFunctions(t *testing.T) {
	var conn *guest.Conn
	stopped := false
	h := guesttest.New(t, &script{open: func(c *guest.Conn) error { conn = c; return nil }, stop: func() { stopped = true }},
		guesttest.Options{Listener: "front", Tenant: "acme"})
	h.Connect()
	if !strings.HasPrefix(conn.Peer(), "192.0.2.1:") || conn.Local() != "192.0.2.2:7000" || conn.Listener() != "front" ||
		conn.Tenant() != "acme" || conn.Transport() != "tcp" {
		t.Errorf("info: %q %q %q %q %q", conn.Peer(), conn.Local(), conn.Listener(), conn.Tenant(), conn.Transport())
	}
	before, wall := guest.Monotonic(), guest.Now()
	h.Advance(guest.Minute)
	if guest.Monotonic()-before != guest.Minute || guest.Now()-wall != int64(guest.Minute) {
		t.Error("the clocks stand still")
	}
	var a, b [16]byte
	if guest.Random(a[:]) != nil || guest.Random(b[:]) != nil || a == b {
		t.Error("random bytes are not random")
	}
	guest.Log(guest.LogWarn, strings.Repeat("l", guest.MaxLogLine+1))
	guest.Log(guest.Level(9), "nowhere")
	if l := h.Log(); len(l) != 1 || l[0].Level != guest.LogWarn || len(l[0].Text) != guest.MaxLogLine {
		t.Errorf("logged %v", l)
	}
	for name, want := range map[string]error{"hits_2": nil, "": guest.Invalid, "Hits": guest.Invalid, "a-b": guest.Invalid,
		strings.Repeat("m", guest.MaxMetricName): nil, strings.Repeat("m", guest.MaxMetricName+1): guest.Invalid} {
		if err := guest.Count(name, 2); err != want {
			t.Errorf("counting %q: %v", name, err)
		}
	}
	_ = guest.Count("hits_2", -5)
	if n := h.Counted("hits_2"); n != -3 {
		t.Errorf("counted %d", n)
	}
	var err error
	for i := range 200 {
		err = guest.Count(fmt.Sprint("n", i), 1)
	}
	if err != guest.Quota {
		t.Errorf("the two-hundredth name: %v", err)
	}
	h.Stop()
	if !stopped {
		t.Error("Stop never came")
	}
}

func TestLongInfo(t *testing.T) {
	name := strings.Repeat("long", 100)
	var conn *guest.Conn
	h := guesttest.New(t, &script{open: func(c *guest.Conn) error { conn = c; return nil }}, guesttest.Options{Listener: name})
	h.Connect()
	if conn.Listener() != name {
		t.Errorf("the listener is called %q", conn.Listener())
	}
}

// Without a host nothing works, and nothing breaks.
func TestNoHost(t *testing.T) {
	if guest.Count("x", 1) != guest.Unsupported || guest.Random(make([]byte, 1)) != guest.Unsupported || guest.Config() != nil ||
		guest.SetTimer(1, 1) != guest.Unsupported || guest.Now() >= 0 {
		t.Error("something answers without a host")
	}
	guest.Log(guest.LogInfo, "nowhere")
}

func TestRegister(t *testing.T) {
	panics := func(f func()) (text string) {
		defer func() { text, _ = recover().(string) }()
		f()
		return ""
	}
	if got := panics(func() { guest.Register(nil) }); got != "guest: Register needs a handler" {
		t.Errorf("panicked with %q", got)
	}
	guesttest.New(t, echo{}, guesttest.Options{})
	if got := panics(func() { guest.Register(echo{}) }); !strings.Contains(got, "twice") {
		t.Errorf("panicked with %q", got)
	}
}

func TestCodes(t *testing.T) {
	if guest.Reset.Error() != "csa: RESET" || guest.BadHandle.String() != "BAD_HANDLE" || guest.Code(-99).String() != "UNKNOWN" || guest.Code(3).String() != "UNKNOWN" {
		t.Error("codes have wrong names")
	}
	if !errors.Is(fmt.Errorf("x: %w", guest.Again), guest.Again) || errors.Is(guest.Again, guest.Closed) {
		t.Error("codes do not match with errors.Is")
	}
}

type reseeded struct {
	script
	times int
}

func (r *reseeded) Reseed() { r.times++ }

// A copy of an instance does not go on with the numbers of the one it was copied
// from.
func TestReseed(t *testing.T) {
	draw := func(copied bool) (first, second uint64) {
		h := &reseeded{}
		host := guesttest.New(t, h, guesttest.Options{})
		first = guest.Rand().Uint64()
		if copied {
			host.Reseed()
		}
		if h.times > 0 != copied {
			t.Errorf("it was told %d times", h.times)
		}
		return first, guest.Rand().Uint64()
	}
	a, b := draw(false)
	c, d := draw(true)
	if a != c || b == d {
		t.Errorf("it draws %d and %d, and reseeded %d and %d", a, b, c, d)
	}
}
