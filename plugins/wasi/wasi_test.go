package wasi

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	preview1 "github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"
)

// fake is a system that writes down what is asked of it.
type fake struct {
	memory  []byte
	input   []byte
	errno   Errno
	written [3][]byte
	did     []string
	entered int
	ready   Ready // what can be done
	end     bool
	clock   int64 // the monotonic one
}

func (f *fake) Memory() []byte   { return f.memory }
func (f *fake) Enter()           { f.entered++ }
func (f *fake) YieldIfDue()      {}
func (f *fake) Wall() int64      { return time.Now().UnixNano() }
func (f *fake) Monotonic() int64 { return f.clock }
func (f *fake) Random(p []byte)  { _, _ = rand.Read(p) }
func (f *fake) Yield()           { f.did = append(f.did, "yield") }
func (f *fake) Close(fd int)     { f.did = append(f.did, fmt.Sprint("close ", fd)) }
func (f *fake) Sleep(d time.Duration) {
	f.did = append(f.did, fmt.Sprint("sleep ", d.Round(time.Second)))
}
func (f *fake) Read(p []byte) (int, Errno) {
	n := copy(p, f.input)
	f.input = f.input[n:]
	return n, f.errno
}
func (f *fake) Poll(want Ready, d time.Duration) (got Ready, end bool) {
	f.did = append(f.did, fmt.Sprint("poll ", want, " ", d.Round(time.Second)))
	return want & f.ready, f.end
}
func (f *fake) Write(fd int, p [][]byte, wait bool) (n int, e Errno) {
	if !wait && f.ready&Writable == 0 {
		return 0, Again
	}
	for _, b := range p {
		f.written[fd] = append(f.written[fd], b...)
		n += len(b)
	}
	return n, f.errno
}

var functions = func() map[string]Func {
	m := make(map[string]Func)
	for _, f := range Functions() {
		m[f.Name] = f
	}
	return m
}()

func (f *fake) process() *Process { return &Process{System: f} }

// stackOf is a stack with the arguments of a call, as the engine leaves it: above those of 32 bits
// stands anything.
func stackOf(name string, args []uint64) []uint64 {
	s := make([]uint64, len(args)+1)
	copy(s, args)
	poison(functions[name], s)
	return s
}

func poison(f Func, stack []uint64) {
	for i, t := range f.Params[:min(len(stack), len(f.Params))] {
		if t == I32 {
			stack[i] |= 0x7ead_beef << 32
		}
	}
}

func call(t *testing.T, p *Process, want Errno, name string, args ...uint64) {
	t.Helper()
	s := stackOf(name, args)
	functions[name].Call(p, s)
	if Errno(s[0]) != want {
		t.Errorf("%s%v = %d, want %d", name, args, s[0], want)
	}
}

func put32(b []byte, at int, vs ...uint32) {
	for _, v := range vs {
		le.PutUint32(b[at:], v)
		at += 4
	}
}

// The table is all of preview 1, as the engine's own has it.
func TestTableIsPreview1(t *testing.T) {
	ctx := context.Background()
	r := wazero.NewRuntime(ctx)
	defer r.Close(ctx)
	compiled, err := preview1.NewBuilder(r).Compile(ctx)
	if err != nil {
		t.Fatal(err)
	}
	theirs := compiled.ExportedFunctions()
	for name, f := range functions {
		def := theirs[name]
		if def == nil {
			t.Errorf("%s is no function of preview 1", name)
			continue
		}
		if got, want := fmt.Sprint(types(f.Params), types(f.Results)), fmt.Sprint(def.ParamTypes(), def.ResultTypes()); got != want {
			t.Errorf("%s has the types %s, not %s", name, got, want)
		}
		delete(theirs, name)
	}
	for name := range theirs {
		t.Errorf("%s is missing", name)
	}
	if len(functions) != len(Functions()) {
		t.Error("a function is there twice")
	}
}

func types(ts []Type) []api.ValueType {
	out := []api.ValueType{}
	for _, t := range ts {
		out = append(out, map[Type]api.ValueType{I32: api.ValueTypeI32, I64: api.ValueTypeI64}[t])
	}
	return out
}

func TestReadAndWrite(t *testing.T) {
	f := &fake{memory: make([]byte, 1000), input: []byte("hello, world")}
	p := f.process()
	put32(f.memory, 0, 0, 0, 100, 5, 200, 50)
	call(t, p, Success, "fd_read", 0, 0, 3, 500)
	if string(f.memory[100:106]) != "hello\x00" || le.Uint32(f.memory[500:]) != 5 {
		t.Errorf("it read %q, %d", f.memory[100:106], le.Uint32(f.memory[500:]))
	}
	call(t, p, Success, "fd_read", 0, 16, 1, 500)
	call(t, p, Success, "fd_read", 0, 16, 1, 500)
	if string(f.memory[200:207]) != ", world" || le.Uint32(f.memory[500:]) != 0 {
		t.Errorf("it read %q, and then %d", f.memory[200:207], le.Uint32(f.memory[500:]))
	}
	put32(f.memory, 0, 100, 5, 0, 0, 200, 7)
	call(t, p, Success, "fd_write", 1, 0, 3, 500)
	call(t, p, Success, "fd_write", 2, 0, 1, 504)
	if string(f.written[1]) != "hello, world" || string(f.written[2]) != "hello" || le.Uint32(f.memory[500:]) != 12 || le.Uint32(f.memory[504:]) != 5 {
		t.Errorf("it wrote %q", f.written)
	}
	call(t, p, Success, "fd_write", 1, 0, 0, 500)
	if le.Uint32(f.memory[500:]) != 0 {
		t.Error("no vectors wrote something")
	}
	f.errno = Pipe
	call(t, p, Pipe, "fd_write", 1, 0, 1, 500)
	call(t, p, Pipe, "fd_read", 0, 0, 1, 500)
}

// Nothing is read or written when any pointer of the call is bad.
func TestBadPointers(t *testing.T) {
	f := &fake{memory: make([]byte, 1000), input: []byte("hello")}
	p := f.process()
	put32(f.memory, 0, 100, 5, 998, 3, 0xffffffff, 2)
	for _, c := range []struct{ list, n, out uint64 }{
		{0, 1, 997}, {0, 1, 0xffffffff}, {996, 1, 500}, {0xfffffff8, 2, 500}, {8, 1, 500}, {0, 2, 500}, {16, 1, 500}, {0, 1000, 500},
	} {
		call(t, p, Fault, "fd_read", 0, c.list, c.n, c.out)
		call(t, p, Fault, "fd_write", 1, c.list, c.n, c.out)
	}
	for _, n := range []uint64{1025, 0xffffffff, 0x20000001} {
		call(t, p, Inval, "fd_read", 0, 0, n, 500)
		call(t, p, Inval, "fd_write", 1, 0, n, 500)
	}
	if len(f.input) != 5 || f.written[1] != nil {
		t.Error("something was read or written")
	}
	for name, args := range map[string][]uint64{
		"args_sizes_get": {997, 0}, "environ_sizes_get": {0, 997}, "clock_res_get": {0, 993}, "clock_time_get": {0, 0, 993},
		"random_get": {990, 11}, "fd_fdstat_get": {0, 977}, "fd_filestat_get": {1, 937},
		"poll_oneoff": {953, 0, 1, 500},
	} {
		call(t, p, Fault, name, args...)
		args[len(args)-1] = 0xffffffff
		if name != "poll_oneoff" {
			call(t, p, Fault, name, args...)
		}
	}
	call(t, p, Fault, "poll_oneoff", 0, 970, 1, 500)
	call(t, p, Fault, "poll_oneoff", 0, 100, 1, 997)
}

func TestDescriptors(t *testing.T) {
	f := &fake{memory: make([]byte, 1000)}
	p := f.process()
	for fd, rights := range []uint64{rightRead | rightPoll, rightWrite | rightPoll, rightWrite | rightPoll} {
		f.memory[101] = 0xff
		call(t, p, Success, "fd_fdstat_get", uint64(fd), 100)
		if f.memory[100] != []byte{kindStream, kindCharacterDevice, kindCharacterDevice}[fd] || f.memory[101] != 0 || le.Uint64(f.memory[108:]) != rights {
			t.Errorf("descriptor %d is % x", fd, f.memory[100:124])
		}
		call(t, p, Success, "fd_filestat_get", uint64(fd), 100)
		call(t, p, SeekPipe, "fd_seek", uint64(fd), 0, 0, 100)
		call(t, p, Success, "fd_close", uint64(fd))
		call(t, p, Badf, "fd_close", uint64(fd))
	}
	for _, fd := range []uint64{0, 1, 2, 3, 4, 0xffffffff} {
		call(t, p, Badf, "fd_fdstat_get", fd, 100)
		call(t, p, Badf, "fd_seek", fd, 0, 0, 100)
		call(t, p, Badf, "fd_close", fd)
		call(t, p, Badf, "fd_read", fd, 0, 0, 100)
		call(t, p, Badf, "fd_write", fd, 0, 0, 100)
		call(t, p, Badf, "fd_prestat_get", fd, 100)
		call(t, p, Badf, "sock_accept", fd, 0, 100)
	}
	if got := fmt.Sprint(f.did); got != "[close 0 close 1 close 2]" {
		t.Errorf("the system was told %s", got)
	}
	p = f.process()
	call(t, p, Badf, "fd_read", 1, 0, 0, 100)
	call(t, p, Badf, "fd_write", 0, 0, 0, 100)
}

func TestClocksRandomAndEnvironment(t *testing.T) {
	f := &fake{memory: bytes.Repeat([]byte{0xaa}, 1000)}
	p := f.process()
	call(t, p, Success, "args_sizes_get", 0, 4)
	call(t, p, Success, "environ_sizes_get", 8, 12)
	if !bytes.Equal(f.memory[:16], make([]byte, 16)) {
		t.Errorf("there are arguments: % x", f.memory[:16])
	}
	call(t, p, Success, "args_get", 0, 0)
	p.Args, p.Env = []string{"prog", "", "two words"}, []string{"A=b"}
	call(t, p, Success, "args_sizes_get", 0, 4)
	call(t, p, Success, "environ_sizes_get", 8, 12)
	for at, want := range map[int]uint32{0: 3, 4: 5 + 1 + 10, 8: 1, 12: 4} {
		if got := le.Uint32(f.memory[at:]); got != want {
			t.Errorf("a size at %d is %d, want %d", at, got, want)
		}
	}
	call(t, p, Success, "args_get", 300, 400)
	if got := string(f.memory[400:416]); got != "prog\x00\x00two words\x00" || f.memory[416] != 0xaa {
		t.Errorf("the arguments are %q", got)
	}
	for i, want := range []uint32{400, 405, 406} {
		if got := le.Uint32(f.memory[300+4*i:]); got != want {
			t.Errorf("argument %d is at %d, want %d", i, got, want)
		}
	}
	call(t, p, Success, "environ_get", 300, 996)
	if got := string(f.memory[996:]); got != "A=b\x00" {
		t.Errorf("the environment is %q", got)
	}
	call(t, p, Fault, "environ_get", 300, 997)
	call(t, p, Fault, "args_get", 989, 400)
	call(t, p, Fault, "args_get", 0xfffffffc, 400)
	call(t, p, Success, "clock_time_get", 0, 0, 100)
	if d := time.Since(time.Unix(0, int64(le.Uint64(f.memory[100:])))); d < 0 || d > time.Minute {
		t.Errorf("the clock is off by %v", d)
	}
	call(t, p, Success, "clock_time_get", 1, 0, 100)
	call(t, p, Success, "clock_time_get", 1, 0, 108)
	if le.Uint64(f.memory[108:]) < le.Uint64(f.memory[100:]) {
		t.Error("the monotonic clock goes back")
	}
	call(t, p, Inval, "clock_time_get", 2, 0, 100)
	call(t, p, Success, "clock_res_get", 1, 100)
	call(t, p, Inval, "clock_res_get", 7, 100)
	call(t, p, Success, "random_get", 200, 64)
	if bytes.Equal(f.memory[200:264], bytes.Repeat([]byte{0xaa}, 64)) {
		t.Error("random_get left everything as it was")
	}
	call(t, p, Success, "sched_yield")
}

func subscribe(b []byte, userdata uint64, kind byte, id uint32, timeout uint64, flags uint16) {
	le.PutUint64(b, userdata)
	b[8] = kind
	le.PutUint32(b[16:], id)
	le.PutUint64(b[24:], timeout)
	le.PutUint16(b[40:], flags)
}

func TestPoll(t *testing.T) {
	f := &fake{memory: make([]byte, 10000)}
	p := f.process()
	poll := func(n int) (events int) {
		t.Helper()
		f.did = nil
		call(t, p, Success, "poll_oneoff", 0, 5000, uint64(n), 9000)
		return int(le.Uint32(f.memory[9000:]))
	}
	event := func(k int) (userdata uint64, e Errno, kind byte) {
		b := f.memory[5000+k*eventSize:]
		return le.Uint64(b), Errno(le.Uint16(b[8:])), b[10]
	}
	// The nearer of two clocks.
	subscribe(f.memory, 7, eventClock, clockMonotonic, 3600e9, 0)
	subscribe(f.memory[48:], 8, eventClock, clockRealtime, 60e9, 0)
	if n := poll(2); n != 1 || fmt.Sprint(f.did) != "[sleep 1m0s]" {
		t.Errorf("%d events after %v", n, f.did)
	}
	if u, e, k := event(0); u != 8 || e != Success || k != eventClock {
		t.Errorf("the event is %d, %d, %d", u, e, k)
	}
	// A time of day, to come and past.
	subscribe(f.memory, 7, eventClock, clockRealtime, uint64(time.Now().Add(time.Hour).UnixNano()), absoluteTime)
	if n := poll(1); n != 1 || fmt.Sprint(f.did) != "[sleep 1h0m0s]" {
		t.Errorf("%d events after %v", n, f.did)
	}
	subscribe(f.memory, 7, eventClock, clockRealtime, 1, absoluteTime)
	if n := poll(1); n != 1 || f.did != nil {
		t.Errorf("%d events after %v", n, f.did)
	}
	// Standard error and bad descriptors are ready at once, and streams are asked after.
	f.ready = Readable
	subscribe(f.memory[48:], 1, eventRead, 0, 0, 0)
	subscribe(f.memory[96:], 2, eventWrite, 3, 0, 0)
	subscribe(f.memory[144:], 3, 9, 0, 0, 0)
	subscribe(f.memory, 4, eventClock, 5, 1e9, 0)
	if n := poll(4); n != 4 || fmt.Sprint(f.did) != "[poll 1 0s]" {
		t.Errorf("%d events after %v", n, f.did)
	}
	for k, want := range []string{"4 28 0", "1 0 1", "2 8 2", "3 28 9"} {
		if u, e, kind := event(k); fmt.Sprint(u, e, kind) != want {
			t.Errorf("event %d is %d %d %d, not %s", k, u, e, kind, want)
		}
	}
	// Whoever waits for a stream and a clock gets the first of them.
	for _, c := range []struct {
		ready  Ready
		end    bool
		events string
	}{
		{0, false, "[7 0 0 0]"}, {Readable, false, "[1 0 1 0]"}, {Readable, true, "[1 0 1 1]"},
		{Writable, false, "[2 0 2 0]"}, {Readable | Writable, false, "[1 0 1 0 2 0 2 0]"},
	} {
		f.ready, f.end = c.ready, c.end
		subscribe(f.memory, 7, eventClock, clockMonotonic, 60e9, 0)
		subscribe(f.memory[48:], 1, eventRead, 0, 0, 0)
		subscribe(f.memory[96:], 2, eventWrite, 1, 0, 0)
		n := poll(3)
		if fmt.Sprint(f.did) != "[poll 3 1m0s]" {
			t.Errorf("it did %v", f.did)
		}
		var events []uint64
		for k := range n {
			u, e, kind := event(k)
			events = append(events, u, uint64(e), uint64(kind), uint64(le.Uint16(f.memory[5000+k*eventSize+24:])))
		}
		if fmt.Sprint(events) != c.events {
			t.Errorf("with %d ready the events are %v, want %s", c.ready, events, c.events)
		}
	}
	f.ready, f.end = Readable, false
	subscribe(f.memory, 1, eventRead, 0, 0, 0)
	if n := poll(1); n != 1 || fmt.Sprint(f.did) != "[poll 1 0s]" { // below zero: for ever
		t.Errorf("%d events after %v", n, f.did)
	}
	// A time beyond all.
	subscribe(f.memory, 7, eventClock, clockMonotonic, 1<<64-1, 0)
	if n := poll(1); n != 1 || len(f.did) != 1 {
		t.Errorf("%d events after %v", n, f.did)
	}
	// The events over the subscriptions.
	subscribe(f.memory, 1, eventRead, 0, 0, 0)
	call(t, p, Success, "poll_oneoff", 0, 0, 2, 9000)
	call(t, p, Inval, "poll_oneoff", 0, 5000, 0, 9000)
	call(t, p, Inval, "poll_oneoff", 0, 5000, maxSubscriptions+1, 9000)
	call(t, p, Inval, "poll_oneoff", 0, 5000, 0xffffffff, 9000)
}

func TestExit(t *testing.T) {
	f := &fake{}
	defer func() {
		if e, ok := recover().(*sys.ExitError); !ok || e.ExitCode() != 42 {
			t.Errorf("proc_exit panicked with %v", e)
		}
	}()
	functions["proc_exit"].Call(f.process(), []uint64{42})
}

// A stream that is not to wait says so, and one that may waits.
func TestNonBlocking(t *testing.T) {
	f := &fake{memory: make([]byte, 1000), input: []byte("hello")}
	p := f.process()
	put32(f.memory, 0, 100, 5)
	call(t, p, Inval, "fd_fdstat_set_flags", 0, 1)
	for _, fd := range []uint64{0, 1} {
		call(t, p, Success, "fd_fdstat_set_flags", fd, nonBlocking)
		call(t, p, Success, "fd_fdstat_get", fd, 200)
		if got := le.Uint16(f.memory[202:]); got != nonBlocking {
			t.Errorf("the flags of %d are %d", fd, got)
		}
	}
	call(t, p, Again, "fd_read", 0, 0, 1, 500)
	call(t, p, Again, "fd_write", 1, 0, 1, 500)
	call(t, p, Success, "fd_write", 2, 0, 1, 500)
	f.ready = Readable | Writable
	call(t, p, Success, "fd_read", 0, 0, 1, 500)
	call(t, p, Success, "fd_write", 1, 0, 1, 500)
	if string(f.written[1]) != "hello" {
		t.Errorf("it wrote %q", f.written[1])
	}
	f.ready = 0
	call(t, p, Success, "fd_fdstat_set_flags", 0, 0)
	call(t, p, Success, "fd_read", 0, 0, 1, 500)
}

// Every function enters the system first, and survives any arguments.
func FuzzCalls(f *testing.F) {
	f.Add(uint8(26), uint64(1), uint64(0), uint64(2), uint64(500), uint64(0), []byte("\x10\x00\x00\x00\x05\x00\x00\x00"))
	f.Add(uint8(20), uint64(0), uint64(8), uint64(1024), uint64(4), uint64(0), []byte{})
	f.Add(uint8(37), uint64(0), uint64(100), uint64(2), uint64(200), uint64(0), make([]byte, 96))
	f.Add(uint8(40), uint64(1<<32-1), uint64(1<<32-1), uint64(0), uint64(0), uint64(0), []byte{1})
	f.Add(uint8(31), uint64(3), uint64(1), uint64(0), uint64(5), uint64(0), []byte("a/b.c"))
	f.Add(uint8(21), uint64(3), uint64(0), uint64(200), uint64(1), uint64(200), []byte{})
	all := Functions()
	fuzzed := testFolder(f)
	f.Fuzz(func(t *testing.T, which uint8, a, b, c, d, e uint64, memory []byte) {
		sys0 := &fake{memory: append(memory, make([]byte, 256)...), input: []byte("some input")}
		p := sys0.process()
		p.Args, p.Env, p.Folder = []string{"program", "x"}, []string{"A=b"}, fuzzed
		s := []uint64{a, b, c, d, e, a, b, c, d, e}
		defer func() {
			if r := recover(); r != nil {
				if _, ok := r.(*sys.ExitError); !ok {
					t.Errorf("it panicked with %v", r)
				}
			}
			if sys0.entered != 1 {
				t.Errorf("it entered the system %d times", sys0.entered)
			}
		}()
		fn := all[int(which)%len(all)]
		fn.Call(p, s)
		if len(fn.Results) > 0 && s[0] > uint64(NotCapable) {
			t.Errorf("%s answers %d", fn.Name, s[0])
		}
	})
}

// Copies have what their descriptors were, allocate nothing for it, and change their own alone.
func TestCopies(t *testing.T) {
	f := &fake{memory: make([]byte, 1000)}
	p := f.process()
	p.Folder = testFolder(t)
	call(t, p, Success, "fd_fdstat_set_flags", 0, nonBlocking)
	fd, _ := opens(t, p, 3, "hello.txt", 0, rightRead)
	first, second := p.Copy(f), p.Copy(f)
	put32(f.memory, 0, 100, 5)
	call(t, &first, Success, "fd_read", fd, 0, 1, 500)
	call(t, &first, Success, "fd_fdstat_set_flags", 0, 0)
	call(t, &first, Success, "fd_close", 1)
	for _, c := range []*Process{p, &second} {
		call(t, c, Success, "fd_tell", fd, 600)
		call(t, c, Success, "fd_fdstat_get", 0, 200)
		if at, flags := le.Uint64(f.memory[600:]), le.Uint16(f.memory[202:]); at != 0 || flags != nonBlocking {
			t.Errorf("another one stands at %d, with the flags %d", at, flags)
		}
		call(t, c, Success, "fd_fdstat_get", 1, 200)
	}
	put32(f.memory, 0, 100, 5)
	write, s := functions["fd_write"], make([]uint64, 4)
	if a := testing.AllocsPerRun(100, func() {
		c := p.Copy(f)
		c.iov = first.iov[:0]
		copy(s, []uint64{2, 0, 1, 20})
		write.Call(&c, s)
		f.written[2] = f.written[2][:0]
	}); a > 1 { // the Process itself
		t.Errorf("a copy that writes allocates %v times", a)
	}
}

// A call that names many buffers leaves no room for them behind, and no call the buffers.
func TestVectorsAreNotKept(t *testing.T) {
	f := &fake{memory: make([]byte, 64<<10)}
	p := f.process()
	for k := range maxVectors {
		put32(f.memory, 1000+8*k, 100, 1)
	}
	for _, n := range []uint64{2, maxVectors, keptVectors} {
		call(t, p, Success, "fd_write", 1, 1000, n, 20)
		if cap(p.iov) > keptVectors {
			t.Errorf("after %d buffers there is room for %d", n, cap(p.iov))
		}
		for _, b := range p.iov[:cap(p.iov)] {
			if b != nil {
				t.Errorf("after %d buffers one is kept", n)
			}
		}
	}
	put32(f.memory, 1000+8*(maxVectors-1), 1<<30, 1)
	call(t, p, Fault, "fd_write", 1, 1000, maxVectors, 20)
	call(t, p, Badf, "fd_read", 1, 1000, 2, 20)
	for _, b := range p.iov[:cap(p.iov)] {
		if b != nil {
			t.Error("one of a call that failed is kept")
		}
	}
	put32(f.memory, 1000, 100, 1)
	write, s := functions["fd_write"], make([]uint64, 4)
	if a := testing.AllocsPerRun(100, func() {
		copy(s, []uint64{2, 1000, 2, 20})
		write.Call(p, s)
		f.written[2] = f.written[2][:0]
	}); a != 0 {
		t.Errorf("a write of two buffers allocates %v times", a)
	}
}
