package load

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// server runs handle for each connection, and returns its address.
func server(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c)
			}()
		}
	}()
	return l.Addr().String()
}

func goodEcho(c net.Conn) { io.Copy(c, c) }

// jobs runs a generator's process in this one, and gives it jobs.
func jobs(t *testing.T, all ...Job) []answer {
	t.Helper()
	var in, out bytes.Buffer
	enc := json.NewEncoder(&in)
	for _, j := range all {
		if err := enc.Encode(j); err != nil {
			t.Fatal(err)
		}
	}
	if err := Serve(&in, &out); err != nil {
		t.Fatal(err)
	}
	var answers []answer
	dec := json.NewDecoder(&out)
	for range all {
		var a answer
		if err := dec.Decode(&a); err != nil {
			t.Fatal(err)
		}
		answers = append(answers, a)
	}
	return answers
}

const short = 50 * time.Millisecond

func TestEcho(t *testing.T) {
	addr := server(t, goodEcho)
	for _, j := range []Job{
		{Conns: 1, Size: 1, Pipeline: 1},
		{Conns: 20, Size: 64, Pipeline: 16},
		{Conns: 3, Size: 1 << 20, Pipeline: 4},
		{Conns: 3, Size: 70001, Pipeline: 5, Lag: 1000},
	} {
		j.Kind, j.Address, j.PID = Echo, addr, os.Getpid()
		j.Warmup, j.Duration, j.Timeout = short/5, short, time.Minute
		a := jobs(t, j)[0]
		r := a.Result
		if a.Error != "" || r.Failures.Any() || r.Messages == 0 || r.Conns != j.Conns {
			t.Errorf("%+v:\n%+v", j, a)
		}
		if r.Elapsed < short || r.ServerCPU <= 0 || r.LoadCPU <= 0 {
			t.Errorf("%+v: elapsed %v, CPU %v and %v", j, r.Elapsed, r.ServerCPU, r.LoadCPU)
		}
		if r.P50 <= 0 || r.P50 > r.P99 || r.P99 > r.P999 || r.P999 > r.Max || r.Max > time.Minute {
			t.Errorf("%+v: latencies %v %v %v %v", j, r.P50, r.P99, r.P999, r.Max)
		}
	}
}

// A connection that is served late must not be missing from the measurement:
// the warm-up of none goes on until the slow one has its first answer.
func TestWarmUpWaitsForAll(t *testing.T) {
	const late = 10 * short // far longer than the measurement
	var made atomic.Int64
	addr := server(t, func(c net.Conn) {
		if made.Add(1) == 4 {
			timer := time.NewTimer(late)
			defer timer.Stop()
			<-timer.C
		}
		goodEcho(c)
	})
	begun := time.Now()
	a := jobs(t, Job{Kind: Echo, Address: addr, PID: os.Getpid(), Conns: 4, Size: 64, Pipeline: 1, Duration: short, Timeout: time.Minute})[0]
	if a.Error != "" || a.Result.Failures.Any() || a.Result.Messages == 0 {
		t.Errorf("%+v", a)
	}
	if took := time.Since(begun); took < late+short || a.Result.Max >= late {
		t.Errorf("took %v and measured a latency of %v: the slow connection was not waited for", took, a.Result.Max)
	}
}

func TestChurn(t *testing.T) {
	addr := server(t, goodEcho)
	a := jobs(t, Job{Kind: Churn, Address: addr, PID: os.Getpid(), Conns: 10, Size: 64, Duration: short, Timeout: time.Minute})[0]
	if a.Error != "" || a.Result.Failures.Any() || a.Result.Messages == 0 {
		t.Errorf("%+v", a)
	}
}

func TestIdleTouchRelease(t *testing.T) {
	addr := server(t, goodEcho)
	idle := Job{Kind: Idle, Address: addr, Conns: 30, Timeout: time.Minute}
	touch := Job{Kind: Touch, Size: 100, Timeout: time.Minute}
	as := jobs(t, touch, idle, touch, touch, Job{Kind: Release}, touch)
	if as[0].Error == "" || as[5].Error == "" {
		t.Errorf("touched what is not there: %+v, %+v", as[0], as[5])
	}
	for i, messages := range []uint64{0, 30, 30} {
		if a := as[1+i]; a.Error != "" || a.Result.Failures.Any() || a.Result.Conns != 30 || a.Result.Messages != messages {
			t.Errorf("job %d: %+v", 1+i, a)
		}
	}
}

// Servers that do wrong have to be found out; figures from an unchecked
// answer are worth nothing.
func TestBadServers(t *testing.T) {
	flip := func(c net.Conn) {
		b := make([]byte, 4096)
		for total := 0; ; {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			if total += n; total > 500 {
				b[n-1] ^= 1
			}
			c.Write(b[:n])
		}
	}
	drop := func(c net.Conn) { // loses the tenth byte, and answers as many
		b := make([]byte, 4096)
		n, err := io.ReadAtLeast(c, b, 20)
		if err == nil {
			c.Write(append(b[:9:9], b[10:n]...))
			goodEcho(c)
		}
	}
	swap := func(c net.Conn) { // every message comes back, in another order
		b := make([]byte, 128)
		for {
			if _, err := io.ReadFull(c, b); err != nil {
				return
			}
			c.Write(b[64:])
			c.Write(b[:64])
		}
	}
	cut := func(c net.Conn) {
		io.CopyN(c, c, 300)
	}
	silent := func(c net.Conn) { io.Copy(io.Discard, c) }
	lingers := func(c net.Conn) { // never closes its side
		io.Copy(c, c)
		io.Copy(io.Discard, &never{done: t.Context().Done()})
	}
	for _, c := range []struct {
		name   string
		handle func(net.Conn)
		kind   Kind
		count  func(Failures) uint64
	}{
		{"flip", flip, Echo, func(f Failures) uint64 { return uint64(f.Wrong) }},
		{"drop", drop, Echo, func(f Failures) uint64 { return uint64(f.Wrong) }},
		{"swap", swap, Echo, func(f Failures) uint64 { return uint64(f.Wrong) }},
		{"cut", cut, Echo, func(f Failures) uint64 { return uint64(f.Cut) }},
		{"silent", silent, Echo, func(f Failures) uint64 { return f.Unanswered / 4 }},
		{"churn drop", drop, Churn, func(f Failures) uint64 { return uint64(f.Wrong) }},
		{"churn cut", func(net.Conn) {}, Churn, func(f Failures) uint64 { return uint64(f.Cut) }},
		{"churn silent", func(c net.Conn) { io.Copy(io.Discard, c); <-t.Context().Done() }, Churn, func(f Failures) uint64 { return f.Unanswered }},
		{"churn lingers", lingers, Churn, func(f Failures) uint64 { return f.Unanswered }},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := jobs(t, Job{
				Kind: c.kind, Address: server(t, c.handle), PID: os.Getpid(),
				Conns: 5, Size: 64, Pipeline: 4, Duration: short, Timeout: 2 * short,
			})[0]
			if a.Error != "" || c.count(a.Result.Failures) < 5 || a.Result.Failures.First == "" {
				t.Errorf("%+v", a)
			}
		})
	}
}

// never is a reader that gives nothing until done.
type never struct{ done <-chan struct{} }

func (n *never) Read([]byte) (int, error) {
	<-n.done
	return 0, io.EOF
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	for _, kind := range []Kind{Echo, Churn, Idle} {
		a := jobs(t, Job{Kind: kind, Address: addr, Conns: 3, Size: 64, Pipeline: 1, Duration: short, Timeout: time.Second})[0]
		f := a.Result.Failures
		if a.Error != "" || f.Connect < 3 || f.Connect > failuresBorne+3 || !strings.Contains(f.First, "refused") {
			t.Errorf("%s: %+v", kind, a)
		}
	}
}

func TestBadJobs(t *testing.T) {
	good := Job{Kind: Echo, Address: "127.0.0.1:9", Conns: 1, Size: 1, Pipeline: 1, Timeout: 1}
	for name, change := range map[string]func(*Job){
		"kind":        func(j *Job) { j.Kind = "dance" },
		"address":     func(j *Job) { j.Address = "somewhere" },
		"IPv6":        func(j *Job) { j.Address = "[::1]:9" },
		"connections": func(j *Job) { j.Conns = 0 },
		"too many":    func(j *Job) { j.Conns = 1<<20 + 1 },
		"size":        func(j *Job) { j.Size = 0 },
		"too large":   func(j *Job) { j.Size = longest + 1 },
		"pipeline":    func(j *Job) { j.Pipeline = 0 },
		"too deep":    func(j *Job) { j.Pipeline = 65 },
		"warm-up":     func(j *Job) { j.Warmup = -1 },
		"timeout":     func(j *Job) { j.Timeout = 0 },
		"process":     func(j *Job) { j.PID = 1 << 29; j.Address = server(t, goodEcho); j.Timeout = time.Second },
	} {
		j := good
		change(&j)
		if a := jobs(t, j)[0]; a.Error == "" {
			t.Errorf("%s: no error, but %+v", name, a)
		}
	}
}

func TestServeGarbage(t *testing.T) {
	if err := Serve(strings.NewReader("{]"), io.Discard); err == nil {
		t.Error("no error")
	}
}

func FuzzServe(f *testing.F) {
	f.Add([]byte(`{"Kind":"echo","Address":"127.0.0.1:1","Conns":1,"Size":1,"Pipeline":1,"Timeout":1}`))
	f.Add([]byte(`{"Kind":"release"}{"Kind":"touch","Size":1,"Timeout":1}`))
	f.Add([]byte(`{"Conns":-1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		// Jobs that would run are the other tests' business.
		for d := json.NewDecoder(bytes.NewReader(b)); ; {
			var j Job
			if d.Decode(&j) != nil {
				break
			}
			if _, err := j.check(); err == nil && j.Kind != Release && j.Kind != Touch {
				return
			}
		}
		Serve(bytes.NewReader(b), io.Discard)
	})
}

func TestPattern(t *testing.T) {
	if !bytes.Equal(at(0, 100), at(period, 100)) {
		t.Error("the stream does not repeat after its period")
	}
	whole := at(5, longest)
	if !bytes.Equal(whole[period:period+100], at(5+period, 100)) {
		t.Error("a long piece is not the stream")
	}
	// No slip of a plausible size may go unseen.
	for _, slip := range []uint64{1, 8, 64, 512, 4096, 1 << 14, 1 << 16, 1 << 20} {
		if bytes.Equal(at(1000, 16), at(1000+slip, 16)) {
			t.Errorf("a slip of %d bytes passes", slip)
		}
	}
}

// TestMain lets the test's own program be the generator's process.
func TestMain(m *testing.M) {
	if os.Getenv("GENERATOR") != "" {
		if Serve(os.Stdin, os.Stdout) != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func TestGenerator(t *testing.T) {
	t.Setenv("GENERATOR", "1")
	g, err := Start(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	j := Job{Kind: Echo, Address: server(t, goodEcho), PID: os.Getpid(), Conns: 2, Size: 64, Pipeline: 1, Duration: short, Timeout: time.Minute}
	if r, err := g.Run(j); err != nil || r.Messages == 0 || r.Failures.Any() {
		t.Errorf("%+v, %v", r, err)
	}
	bad := j
	bad.Size = 0
	if _, err := g.Run(bad); err == nil {
		t.Error("no error for a bad job")
	}
	if _, err := g.Run(j); err != nil || g.Err() != nil {
		t.Errorf("after a bad job: %v, %v", err, g.Err())
	}
	g.Kill()
	if _, err := g.Run(j); err == nil || g.Err() == nil {
		t.Error("no error when the process is gone")
	}
	if _, err := g.Run(j); err == nil {
		t.Error("a generator that is gone takes jobs")
	}
}

// Jobs of lines are of whole lines, of which a server that answers lines alone answers each, and
// of nothing but letters.
func TestLines(t *testing.T) {
	addr := server(t, func(c net.Conn) {
		for r := bufio.NewReader(c); ; {
			line, err := r.ReadSlice('\n')
			if err != nil || len(line) != lineSize || len(bytes.Trim(line, "abcdefghijklmnopqrstuvwxyz")) != 1 {
				return
			}
			if _, err := c.Write(line); err != nil {
				return
			}
		}
	})
	for i, a := range jobs(t,
		Job{Kind: Echo, Address: addr, Conns: 3, Size: lineSize, Pipeline: 2, Lines: true, Duration: short, Timeout: time.Minute},
		Job{Kind: Churn, Address: addr, Conns: 3, Size: lineSize, Lines: true, Duration: short, Timeout: time.Minute},
		Job{Kind: Idle, Address: addr, Conns: 3, Lines: true, Timeout: time.Minute},
		Job{Kind: Touch, Size: lineSize, Lines: true, Timeout: time.Minute},
		Job{Kind: Touch, Size: lineSize, Lines: true, Timeout: time.Minute},
		Job{Kind: Release},
	) {
		if a.Error != "" || a.Result.Failures.Any() || i != 2 && i != 5 && a.Result.Messages == 0 {
			t.Errorf("job %d: %+v", i, a)
		}
	}
	if a := jobs(t, Job{Kind: Echo, Address: addr, Conns: 1, Size: 10, Pipeline: 1, Lines: true, Timeout: time.Minute}); a[0].Error == "" {
		t.Error("lines of 10 bytes are taken")
	}
}
