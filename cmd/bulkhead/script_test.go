package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"bulkhead/host/config"
	"bulkhead/host/confine"
	"bulkhead/internal/awaittest"

	"github.com/rogpeppe/go-internal/testscript"
)

// The test binary is also the command, and a stand-in for systemd.
func TestMain(m *testing.M) {
	testscript.Main(awaittest.Beside(m), map[string]func(){
		"bulkhead": main,
		"unit":     unit,
		"mdwe":     mdwe,
		"filtered": filtered,
	})
}

// TestScripts runs testdata/script/*.txtar. Besides testscript's own commands
// they have:
//
//	wasm KIND FILE       writes a module; see modules
//	exits N COMMAND...   runs a command, which has to end with status N
//	refuses FILE REGEXP  wants that check and run alike end with status 1 and
//	                     with one line, "FILE:LINE: ...", which matches
//	serve [FLAG...] FILE runs the daemon and waits until it listens; the
//	                     environment variable NAME then has the address of
//	                     each listener
//	develop N ARGS...    runs bulkhead dev, waits until it serves N listeners, and puts their
//	                     addresses into the environment
//	kill-worker [-supervisor] STATE   kills the worker of the daemon with that state folder, or
//	                     its supervisor, and waits until the worker has gone
//	next REGEXP          waits until the log matches behind what the last one has matched
//	ends-process FILE    waits until the process has ended whose number is in the file
//	serve-quietly FILE PATH   the same for a daemon that logs nothing: waits
//	                     until PATH is there
//	place FILE ADDRESS   puts the address into a configuration, for $ADDRESS
//	activate FILE        serve, with two sockets inherited as from systemd
//	manage SOCKET        is the service manager of the daemons that follow: their
//	                     NOTIFY_SOCKET, an abstract name behind @ also
//	told REGEXP          waits until one of the messages to it matches, and forgets
//	                     those before
//	dial PEER ADDRESS    connects; the commands below talk through PEER
//	knock ADDRESS        connects, whatever becomes of it
//	say PEER TEXT        writes the text, in which \n and the like mean what
//	                     they do in Go
//	hear PEER TEXT       reads, and wants just that
//	finish PEER          says that no more comes
//	heard-all PEER       wants the end of what the daemon has to say
//	hangup PEER          closes
//	refused ADDRESS      waits until nobody listens there
//	signal NAME          sends TERM, INT, HUP, KILL or USR1 to the daemon
//	logged REGEXP        waits until the daemon's log matches
//	has FILE REGEXP      waits until a file matches
//	ended N              waits for the daemon's end, with status N; its
//	                     output is then in the file log
//	mode OCTAL PATH...   wants the permissions of files
//	door NAME N          waits until the log tells of the Nth address of [admin], and puts that into the
//	                     environment
//	get [-host=HOST] [-token=FILE] [-post=JSON] ADDRESS PATH STATUS [REGEXP]
//	                     asks there, or at unix:SOCKET, and wants that answer
//	shows FILE COMMAND...   runs a command until it prints what the file says, in which * is any
//	                     word, and + one that begins with a number above 0
//	keeps-asking PEER TEXT   says the text and waits for its echo, until the script ends
//	comes-again ADDRESS TEXT   connects, says the text and reads until the end, likewise
//	own-group FILE...    puts the group that the script runs as in the place of GROUP
//	flip OFFSET PATTERN  changes one bit of each file that the pattern matches
//	compiled STATE...    has a state folder begin with the code that tests have compiled
//
// On Linux the program filtered CALL is bulkhead to which a system call is forbidden, and filtered
// kill CALL one that ends at it.
//
// Where the condition mdwe holds, the program mdwe is bulkhead under
// MemoryDenyWriteExecute. The condition landlock holds where the kernel has that, root for
// root's tests on Linux, and low-ports where ports below 1024 take a privilege.
//
// ECHO is the path of the shipped echo.wasm, EXAMPLES of the folder with all examples, GUESTS of
// that with the guests of other tests, and CAPTURES of that with captures of traffic. try finds
// the code that tests have compiled.
func TestScripts(t *testing.T) {
	echo, err := filepath.Abs("../../examples/echo/echo.wasm")
	if err != nil {
		t.Fatal(err)
	}
	examples := filepath.Dir(filepath.Dir(echo))
	captures, err := filepath.Abs("testdata/captures")
	if err != nil {
		t.Fatal(err)
	}
	cache := shareCache(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Condition: func(name string) (bool, error) {
			switch name {
			case "mdwe":
				return hasMDWE(), nil
			case "root":
				return os.Geteuid() == 0 && runtime.GOOS == "linux", nil
			case "low-ports":
				least, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
				return err != nil || strings.TrimSpace(string(least)) != "0", nil
			case "landlock":
				cfg := &config.Config{Host: config.Host{Landlock: true}}
				return confine.Plan(cfg).Landlock.InForce, nil
			}
			return false, fmt.Errorf("there is no condition %q", name)
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("ECHO", echo)
			e.Setenv("EXAMPLES", examples)
			e.Setenv("GUESTS", filepath.Join(examples, "testdata"))
			e.Setenv("CAPTURES", captures)
			e.Setenv("XDG_CACHE_HOME", cache)
			s := &session{dir: e.WorkDir}
			e.Values[sessionKey{}] = s
			e.Defer(s.close)
			return os.Chmod(e.WorkDir, 0o700) // a state folder is refused where others may write
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"wasm":          writeModule,
			"exits":         exits,
			"refuses":       refuses,
			"serve":         serve,
			"kill-worker":   killWorker,
			"develop":       develop,
			"next":          next,
			"ends-process":  endsProcess,
			"serve-quietly": serveQuietly,
			"place":         place,
			"activate":      activate,
			"manage":        manage,
			"told":          told,
			"dial":          dial,
			"knock":         knock,
			"say":           say,
			"hear":          hear,
			"finish":        finish,
			"heard-all":     heardAll,
			"hangup":        hangup,
			"refused":       refusedAt,
			"signal":        sendSignal,
			"logged":        logged,
			"has":           has,
			"ended":         ended,
			"mode":          mode,
			"scrape":        scrape,
			"flip":          flip,
			"door":          door,
			"get":           get,
			"own-group":     ownGroup,
			"shows":         shows,
			"keeps-asking":  keepsAsking,
			"comes-again":   comesAgain,
			"compiled":      compiled,
		},
	})
}

// mode wants files to have the permissions given.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: mode OCTAL PATH...")
	}
	for _, path := range args[1:] {
		info, err := os.Stat(ts.MkAbs(path))
		ts.Check(err)
		if have := fmt.Sprintf("%o", info.Mode().Perm()); have != args[0] {
			ts.Fatalf("%s has mode %s, not %s", path, have, args[0])
		}
	}
}

// knock connects to an address, and hangs up. A listener may reset it before it is there.
func knock(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 1, "knock ADDRESS")
	network, host := address(ts, args[0])
	c, err := net.Dial(network, host)
	if err == nil {
		err = c.Close()
	}
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		ts.Fatalf("%v", err)
	}
}

// scrape writes the metrics of the daemon with a state folder to a file.
func scrape(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2, "scrape STATE FILE")
	var text []byte
	ts.Check(ask(ts.MkAbs(args[0]), "/metrics", func(body io.Reader) (err error) {
		text, err = io.ReadAll(body)
		return err
	}))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), text, 0o600))
}

// flip changes one bit of files.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2, "flip OFFSET PATTERN")
	at, err := strconv.Atoi(args[0])
	ts.Check(err)
	files, err := filepath.Glob(ts.MkAbs(args[1]))
	ts.Check(err)
	if len(files) == 0 {
		ts.Fatalf("no file matches %s", args[1])
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		ts.Check(err)
		b[at] ^= 0x10
		ts.Check(os.Remove(f)) // it may have another name
		ts.Check(os.WriteFile(f, b, 0o600))
	}
}
