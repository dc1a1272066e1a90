// Package proc starts the processes of a benchmark, reads what they use, and
// sees to it that none of them outlives it.
package proc

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a child of this process, in a process group of its own. The
// kernel kills it when the thread that started it ends: start every one from
// the main goroutine, locked to its thread, and none outlives this process,
// however that ends.
type Process struct {
	cmd    *exec.Cmd
	stderr *tail
	stdin  io.WriteCloser
	stdout io.ReadCloser
	exited chan struct{}
	err    error // why it ended; read after exited
}

// Start starts argv, argv[0] being the path of the program, with env added to
// this process's environment. The caller must Stop it.
func Start(argv, env []string) (*Process, error) {
	p := &Process{
		cmd:    exec.Command(argv[0], argv[1:]...),
		stderr: &tail{},
		exited: make(chan struct{}),
	}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	// A grandchild may hold the pipe after the child is gone.
	p.cmd.WaitDelay = time.Second
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", argv[0], err)
	}
	// Not StdoutPipe: Wait would close that one under a reader.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", argv[0], err)
	}
	p.cmd.Stdout, p.stdout = w, r
	err = p.cmd.Start()
	w.Close()
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("starting %s: %w (is it built? make -C bench build)", argv[0], err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// PID returns the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Stdin is the process's standard input, Stdout its standard output. A process
// that writes a great deal there has to be read from.
func (p *Process) Stdin() io.Writer  { return p.stdin }
func (p *Process) Stdout() io.Reader { return p.stdout }

// CPU returns the processor time, user and system, that the process has used, and those of its
// children that it has waited for; 0 while it runs.
func (p *Process) CPU() time.Duration {
	select {
	case <-p.exited:
		if s := p.cmd.ProcessState; s != nil {
			return s.UserTime() + s.SystemTime()
		}
	default:
	}
	return 0
}

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Complaint returns the end of what the process wrote to standard error, at
// most 4 KiB, for an error message.
func (p *Process) Complaint() string { return strings.TrimSpace(p.stderr.String()) }

// Err says how a process that has ended did so, with its complaint; nil while
// it runs, and after exit status 0.
func (p *Process) Err() error {
	select {
	case <-p.exited:
	default:
		return nil
	}
	if p.err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w: %s", p.cmd.Path, p.err, p.Complaint())
}

// Stop asks the process to end with SIGTERM, and kills it with everything in
// its group when it has not within grace. It returns when the process is gone,
// and reports whether it went without being killed. Any goroutine may call it,
// any number of times.
func (p *Process) Stop(grace time.Duration) (willingly bool) {
	p.stdin.Close()
	willingly = true
	select {
	case <-p.exited:
	default:
		syscall.Kill(-p.PID(), syscall.SIGTERM)
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-p.exited:
		case <-t.C:
			willingly = false
			syscall.Kill(-p.PID(), syscall.SIGKILL)
			<-p.exited
		}
	}
	p.stdout.Close()
	return willingly
}

// Kill ends the process and everything in its group at once. It does not wait.
// Any goroutine may call it, any number of times.
func (p *Process) Kill() {
	select {
	case <-p.exited: // its number may be another's by now
	default:
		syscall.Kill(-p.PID(), syscall.SIGKILL)
	}
}

// tail keeps the last 4 KiB written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailSize = 4 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	if n := len(t.b) - tailSize; n > 0 {
		t.b = append(t.b[:0], t.b[n:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}
