package compiler

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test binary is also the child, and children of other kinds.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if role := roles[os.Args[1]]; role != nil {
			os.Exit(role(os.Args[2:]))
		}
	}
	if os.Getenv(marker) != "" {
		fmt.Fprintln(os.Stderr, "no such role:", os.Args)
		os.Exit(3)
	}
	os.Exit(m.Run())
}

// self is the command that has the test binary play a role.
func self(role string, l Limits) Command {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return Command{Args: []string{exe, role}, Limits: l}
}

const goodFolder = "wazero-test-" + runtime.GOARCH + "-" + runtime.GOOS

var goodName = strings.Repeat("0123", 16)

var roles = map[string]func(args []string) int{
	"compile":  func(args []string) int { return Main(args) },
	"converse": func(args []string) int { return Main(args, append(conversing, trying)...) },

	// Children that go wrong once they are confined.
	"panic": confined(func() int { panic("first line\nsecond line") }),
	"throw": confined(func() int {
		defer recover()
		var mu sync.Mutex
		mu.Unlock() // which no recover catches
		return 0
	}),
	"nil":      confined(func() int { var p *[4]int; return p[len(os.Args)] }),
	"overflow": confined(func() int { return deep(0) }),
	"eat": confined(func() int {
		var all [][]byte
		for {
			b := make([]byte, 1<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			all = append(all, b)
			runtime.KeepAlive(all)
		}
	}),
	"spin": confined(func() int {
		for i := 0; ; i++ {
			spun.Store(int64(i))
		}
	}),
	"hang": confined(func() int {
		_ = os.WriteFile("pid", fmt.Append(nil, os.Getpid()), 0o600)
		return forever()
	}),
	"killed": confined(func() int { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL); return forever() }),
	"segv":   confined(func() int { _ = syscall.Kill(os.Getpid(), syscall.SIGABRT); return forever() }),
	"talks": confined(func() int {
		for range 1000 {
			os.Stdout.Write(bytes.Repeat([]byte("\x1b[31m"), 1000))
			os.Stderr.Write(bytes.Repeat([]byte("\x1b[31m"), 1000))
		}
		return statusRefused
	}),
	"no room": func([]string) int { return statusNoRoom },
	"silent":  func([]string) int { return statusRefused },
	"deaf":    func([]string) int { return 0 }, // reads nothing, leaves nothing

	// Children that leave something strange. They are in their directory.
	"empty file": leaves(func(path string) error { return os.WriteFile(path, nil, 0o600) }),
	"garbage": leaves(func(path string) error {
		return os.WriteFile(path, bytes.Repeat([]byte("garbage "), 1000), 0o600)
	}),
	"large": leaves(func(path string) error {
		return os.WriteFile(path, make([]byte, 2<<20), 0o600)
	}),
	"symlink":   leaves(func(path string) error { return os.Symlink("/etc/hostname", path) }),
	"fifo":      leaves(func(path string) error { return unix.Mkfifo(path, 0o600) }),
	"directory": leaves(func(path string) error { return os.Mkdir(path, 0o700) }),
	"two files": leaves(func(path string) error {
		return os.WriteFile(path+"0", nil, 0o600)
	}, func(path string) error {
		return os.WriteFile(path, nil, 0o600)
	}),
	"wrong name": leaves(func(path string) error { return os.WriteFile(path[:len(path)-1], nil, 0o600) }),
	"linked folder": func([]string) int {
		_ = os.Symlink("/etc", goodFolder)
		return 0
	},
	"wrong folder": func([]string) int {
		_ = os.MkdirAll("other/"+goodName, 0o700)
		return 0
	},

	"forks": func([]string) int {
		// A grandchild that holds the pipes.
		exe, _ := os.Executable()
		p, err := os.StartProcess(programPath(exe), []string{exe, "sleeps"}, &os.ProcAttr{Env: os.Environ(), Files: []*os.File{nil, os.Stdout, os.Stderr}})
		if err != nil {
			return 4
		}
		_ = os.WriteFile("pid", fmt.Append(nil, p.Pid), 0o600)
		return forever()
	},
	"sleeps": func([]string) int { time.Sleep(time.Hour); return 0 },
	"tells":  tells,
	"tries":  tries,
	"parent": parent,
}

// confined is a child that has done what Main does first.
func confined(do func() int) func([]string) int {
	return func(args []string) int {
		l, err := parseArgs(args)
		if err == nil {
			_, err = confine(l, true)
		}
		if err != nil {
			fmt.Println(err)
			return statusRefused
		}
		return do()
	}
}

// leaves is a child that ends well and leaves something.
func leaves(do ...func(path string) error) func([]string) int {
	return func([]string) int {
		err := os.Mkdir(goodFolder, 0o700)
		for _, f := range do {
			if err == nil {
				err = f(filepath.Join(goodFolder, goodName))
			}
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 5
		}
		return 0
	}
}

var spun atomic.Int64

func deep(n int) int {
	var pad [1024]byte
	if n < 0 {
		return 0
	}
	pad[n%1024] = 1
	return deep(n+1) + int(pad[n%7])
}

// forever does not return. A select without a case would have Go end a program without C, which has
// no other goroutine: it calls that a deadlock.
func forever() int {
	for {
		time.Sleep(time.Hour)
	}
}
