package proc

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test's own program is the child: CHILD says what it does.
func TestMain(m *testing.M) {
	switch os.Getenv("CHILD") {
	case "":
		os.Exit(m.Run())
	case "wait":
		fmt.Println("here")
		io.Copy(io.Discard, os.Stdin)
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		<-c
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("here")
		select {}
	case "fail":
		fmt.Fprintln(os.Stderr, strings.Repeat("x", 3*tailSize)+"out of cheese")
		os.Exit(3)
	}
}

func child(t *testing.T, what string) *Process {
	t.Helper()
	p, err := Start([]string{os.Args[0]}, []string{"CHILD=" + what})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(0) })
	return p
}

func here(t *testing.T, p *Process) {
	t.Helper()
	if line, err := bufio.NewReader(p.Stdout()).ReadString('\n'); err != nil || line != "here\n" {
		t.Fatalf("the child says %q, %v", line, err)
	}
}

func gone(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("process %d after Stop: %v, want none", pid, err)
	}
}

func TestStop(t *testing.T) {
	p := child(t, "wait")
	here(t, p)
	if p.Err() != nil {
		t.Errorf("Err while it runs: %v", p.Err())
	}
	// Closing its input and a SIGTERM come together, in either order; what
	// matters is that nothing has to be killed.
	if !p.Stop(time.Minute) {
		t.Error("Stop says that it had to kill")
	}
	gone(t, p.PID())
	if !p.Stop(time.Minute) {
		t.Error("stopping again")
	}
	p.Kill() // and this does nothing
}

func TestStopKills(t *testing.T) {
	p := child(t, "stubborn")
	here(t, p)
	if p.Stop(time.Millisecond) {
		t.Error("Stop says that a process ended which ignores SIGTERM")
	}
	gone(t, p.PID())
}

func TestKill(t *testing.T) {
	p := child(t, "stubborn")
	here(t, p)
	p.Kill()
	<-p.Exited()
	if p.Err() == nil {
		t.Error("no error from a process that was killed")
	}
}

func TestComplaint(t *testing.T) {
	p := child(t, "fail")
	<-p.Exited()
	err := p.Err()
	if err == nil || !strings.Contains(err.Error(), "status 3") || !strings.HasSuffix(err.Error(), "out of cheese") {
		t.Errorf("Err = %.100v", err)
	}
	if n := len(p.Complaint()); n > tailSize {
		t.Errorf("the complaint has %d bytes", n)
	}
}

func TestStartFails(t *testing.T) {
	if _, err := Start([]string{"/nonexistent/program"}, nil); err == nil {
		t.Error("no error")
	}
}

func TestCPU(t *testing.T) {
	before, err := CPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	after := before
	for n := 0; after-before < 30*time.Millisecond; n++ {
		if n > 1e6 {
			t.Fatal("a busy loop uses no CPU time")
		}
		for range 1000 {
			runtime.Gosched()
		}
		if after, err = CPU(os.Getpid()); err != nil {
			t.Fatal(err)
		}
	}
	user, system, err := CPUSplit(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	// The two accounts are kept apart by the kernel; they agree roughly.
	if sum := user + system; sum < after/2-100*time.Millisecond {
		t.Errorf("user %v + system %v, by the precise clock %v", user, system, after)
	}
}

func TestGoneProcess(t *testing.T) {
	p := child(t, "wait")
	here(t, p)
	if _, err := CPU(p.PID()); err != nil {
		t.Errorf("CPU of a process that runs: %v", err)
	}
	m, err := MemoryOf(p.PID())
	if err != nil || m.RSS < 100<<10 || m.PSS > m.RSS || m.PSS <= 0 {
		t.Errorf("memory of a process that runs: %+v, %v", m, err)
	}
	p.Stop(time.Minute)
	if _, err := CPU(p.PID()); err == nil {
		t.Error("CPU of a process that is gone")
	}
	if _, _, err := CPUSplit(p.PID()); err == nil {
		t.Error("CPUSplit of a process that is gone")
	}
	if _, err := MemoryOf(p.PID()); err == nil {
		t.Error("memory of a process that is gone")
	}
}

func TestParseStat(t *testing.T) {
	for _, c := range []struct {
		in           string
		user, system time.Duration
		ok           bool
	}{
		{"1 (a) S 1 1 1 0 -1 4194560 1 2 3 4 250 75 0 0 20", 2500 * time.Millisecond, 750 * time.Millisecond, true},
		{"1 (we) ird (name) S 1 1 1 0 -1 4194560 1 2 3 4 1 2 0 0 20", 10 * time.Millisecond, 20 * time.Millisecond, true},
		{"", 0, 0, false},
		{"1 (a) S 1 1", 0, 0, false},
		{"1 (a) S 1 1 1 0 -1 4194560 1 2 3 4 x 75 0", 0, 0, false},
		{"1 (a) S 1 1 1 0 -1 4194560 1 2 3 4 1 -75 0", 0, 0, false},
	} {
		user, system, err := parseStat([]byte(c.in))
		if user != c.user || system != c.system || (err == nil) != c.ok {
			t.Errorf("parseStat(%q) = %v, %v, %v", c.in, user, system, err)
		}
	}
}

func TestField(t *testing.T) {
	const rollup = "00400000-7fff r-xp 00:00 0 [rollup]\nRss:  1728 kB\nPss: 12 kB\nBad: x kB\nOdd: 12 MB\n"
	for _, c := range []struct {
		key  string
		want int64
		ok   bool
	}{
		{"Rss:", 1728 << 10, true}, {"Pss:", 12 << 10, true}, {"Bad:", 0, false}, {"Odd:", 0, false}, {"None:", 0, false},
	} {
		got, err := field([]byte(rollup), c.key)
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("field %s = %d, %v", c.key, got, err)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("1 (a) S 1 1 1 0 -1 4194560 1 2 3 4 250 75 0 0 20"))
	f.Add([]byte("1 (a) b) S 1"))
	f.Add([]byte(")"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if user, system, err := parseStat(b); err == nil && (user < 0 || system < 0) {
			t.Errorf("negative time from %q", b)
		}
	})
}

func FuzzField(f *testing.F) {
	f.Add([]byte("Rss: 1728 kB\n"))
	f.Add([]byte("Rss: 99999999999999999999 kB"))
	f.Add([]byte("Rss:\n\nRss: 1 kB"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := field(b, "Rss:"); err == nil && n < 0 {
			t.Errorf("%d bytes from %q", n, b)
		}
	})
}

func TestOn(t *testing.T) {
	cores, err := Cores()
	if err != nil || len(cores) == 0 {
		t.Fatalf("Cores: %v, %v", cores, err)
	}
	last := cores[len(cores)-1]
	var p *Process
	if err := On([]int{last}, func() error { p = child(t, "wait"); return nil }); err != nil {
		t.Fatal(err)
	}
	here(t, p)
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("Cpus_allowed_list:\t%d\n", last); !strings.Contains(string(b), want) {
		t.Errorf("the child's status does not say %q:\n%s", want, b)
	}
	after, err := Cores()
	if err != nil || len(after) != len(cores) {
		t.Errorf("this process is kept to %v itself, %v", after, err)
	}
	if err := On([]int{1 << 9}, func() error { t.Error("it started all the same"); return nil }); err == nil {
		t.Error("no error for a core that is not there")
	}
	if err := On(nil, func() error { return nil }); err != nil {
		t.Errorf("all cores: %v", err)
	}
}

// What a process's children use is in the figure of the tree.
func TestTreeCPU(t *testing.T) {
	p, err := Start([]string{"/bin/sh", "-c", "sh -c 'while :; do :; done' & wait"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	var alone, tree time.Duration
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if alone, err = CPU(p.PID()); err != nil {
			t.Fatal(err)
		}
		if tree, err = TreeCPU(p.PID()); err == nil && tree > alone+20*time.Millisecond {
			break
		}
	}
	if tree <= alone+20*time.Millisecond {
		t.Errorf("the process has used %v, and with its child %v (%v)", alone, tree, err)
	}
	p.Stop(0)
	if p.CPU() <= 0 {
		t.Error("a process that has ended has used nothing")
	}
	if _, err := TreeCPU(p.PID()); err == nil {
		t.Error("a process that has ended has CPU time")
	}
}
