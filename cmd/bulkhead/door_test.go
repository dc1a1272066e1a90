package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// door waits until the daemon's log tells of the Nth address of [admin].
func door(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2, "door NAME N")
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	s := sessionOf(ts)
	s.until(ts, "the daemon answers over TCP", func() bool {
		var all []string
		for line := range strings.Lines(s.log()) {
			var l struct{ Msg, Address string }
			if json.Unmarshal([]byte(line), &l) == nil && l.Msg == "what the daemon is asked over TCP is answered" {
				all = append(all, l.Address)
			}
		}
		if len(all) < n {
			return false
		}
		ts.Setenv(args[0], all[n-1])
		return true
	})
}

// ownGroup puts the number of the group that this process is of into files, for GROUP.
func ownGroup(ts *testscript.TestScript, neg bool, args []string) {
	for _, path := range args {
		text, err := os.ReadFile(ts.MkAbs(path))
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(path), bytes.ReplaceAll(text, []byte("GROUP"), []byte(strconv.Itoa(os.Getegid()))), 0o600))
	}
}

// get asks by HTTP, over TCP, or over a Unix socket whose path is behind unix:.
func get(ts *testscript.TestScript, neg bool, args []string) {
	const form = "get [-host=HOST] [-token=FILE] [-post=JSON] ADDRESS PATH STATUS [REGEXP]"
	flags := flag.NewFlagSet("get", flag.ContinueOnError)
	host, token, post := flags.String("host", "", ""), flags.String("token", "", ""), flags.String("post", "", "")
	if neg || flags.Parse(args) != nil || flags.NArg() < 3 || flags.NArg() > 4 {
		ts.Fatalf("usage: %s", form)
	}
	args = flags.Args()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if socket, is := strings.CutPrefix(args[0], "unix:"); is {
		socket, args[0] = ts.MkAbs(socket), "bulkhead"
		client.Transport = &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		}}
	}
	method := http.MethodGet
	if *post != "" {
		method = http.MethodPost
	}
	r, err := http.NewRequest(method, "http://"+args[0]+args[1], strings.NewReader(*post))
	ts.Check(err)
	r.Host = *host
	r.Header.Set("User-Agent", "script")
	if *post != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if *token != "" {
		text, err := os.ReadFile(ts.MkAbs(*token))
		ts.Check(err)
		r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(text)))
	}
	answer, err := client.Do(r)
	ts.Check(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	ts.Check(err)
	if strconv.Itoa(answer.StatusCode) != args[2] {
		ts.Fatalf("%s: %s", answer.Status, text)
	}
	if len(args) > 3 && !regexp.MustCompile(args[3]).Match(text) {
		ts.Fatalf("%s does not match %s", text, args[3])
	}
}
