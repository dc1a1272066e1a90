package main

import (
	"errors"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// develop runs dev in the background, with the script's environment.
func develop(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: develop N ARGS...")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	s := sessionOf(ts)
	s.env = []string{"PATH=" + ts.Getenv("PATH"), "MODULES=" + ts.Getenv("MODULES"), "XDG_CACHE_HOME=" + ts.MkAbs("cache"), "WASI_SDK_PATH="}
	s.start(ts, nil, "bulkhead", append([]string{"dev"}, args[1:]...)...)
	if n == 0 {
		return
	}
	serves := regexp.MustCompile(`(?m)^\S+ (\S+) at (\S+) serves \S+, sha256 [0-9a-f]{64}$`)
	s.until(ts, "dev serves "+args[0]+" listeners", func() bool {
		if !s.running() {
			ts.Fatalf("dev has ended:\n%s", s.log())
		}
		found := serves.FindAllStringSubmatch(s.log(), -1)
		for _, m := range found {
			ts.Setenv(m[1], m[2])
		}
		return len(found) == n
	})
	s.at = strings.LastIndex(s.log(), "sha256")
}

// next waits for what comes behind what the last one has found.
func next(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 1, "next REGEXP")
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	s := sessionOf(ts)
	s.until(ts, "the log goes on with "+args[0], func() bool {
		log := s.log()
		found := re.FindStringIndex(log[s.at:])
		if found == nil {
			return false
		}
		s.at += found[1]
		return true
	})
}

// endsProcess waits for the end of a process that is not a child of ours.
func endsProcess(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 1, "ends-process FILE")
	n, err := strconv.Atoi(strings.TrimSpace(ts.ReadFile(args[0])))
	ts.Check(err)
	sessionOf(ts).until(ts, "the process has ended", func() bool {
		if stat, err := os.ReadFile("/proc/" + strconv.Itoa(n) + "/stat"); err == nil && strings.Contains(string(stat), ") Z ") {
			return true // whoever is to reap it is slow
		}
		return errors.Is(syscall.Kill(n, 0), syscall.ESRCH)
	})
}
