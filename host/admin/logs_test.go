package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"bulkhead/host/recent"
	"bulkhead/internal/awaittest"
)

// logging is a daemon that has a log.
type logging struct {
	fake
	last *recent.Log
}

func (l logging) Recent() *recent.Log { return l.last }

func openLogging(t *testing.T) (*Door, *Client, *recent.Log) {
	t.Helper()
	state := t.TempDir()
	d, _ := open(t, state)
	l := logging{last: recent.New()}
	l.last.SetTenants([]string{"acme"})
	d.Serve(l)
	return d, NewClient(state, "one"), l.last
}

// add adds a line.
func add(l *recent.Log, tenant string, level slog.Level, said string) {
	text, _ := json.Marshal(map[string]any{"time": "2026-11-30T01:02:03Z", "level": level.String(), "msg": said, "tenant": tenant})
	l.Add(tenant, level, append(text, '\n'))
}

// The last errors are listed, and some of them stand in the status.
func TestErrors(t *testing.T) {
	_, c, last := openLogging(t)
	if all, err := c.Errors(t.Context(), "", 5); err != nil || all == nil || len(all) != 0 {
		t.Errorf("at first there are %+v, %v", all, err)
	}
	for n := range statusErrors + 5 {
		add(last, "acme", slog.LevelWarn, fmt.Sprint("wrong ", n))
	}
	add(last, "", slog.LevelError, "worse")
	if all, err := c.Errors(t.Context(), "", 3); err != nil || len(all) != 3 {
		t.Errorf("three are %+v, %v", all, err)
	}
	if all, err := c.Errors(t.Context(), "acme", 100); err != nil || len(all) != statusErrors+5 {
		t.Errorf("those of a tenant are %+v, %v", all, err)
	}
	if st, err := c.Status(t.Context()); err != nil || len(st.Errors) != statusErrors {
		t.Errorf("the status has %+v, %v", st.Errors, err)
	}
}

// Lines are given as they are, also those that come while somebody follows, until the door is shut.
func TestLogs(t *testing.T) {
	d, c, last := openLogging(t)
	add(last, "acme", slog.LevelInfo, "1")
	add(last, "", slog.LevelInfo, "2")
	read := func(q recent.Query) string {
		t.Helper()
		var said strings.Builder
		err := c.Logs(t.Context(), q, func(line []byte) error {
			var m struct{ Msg string }
			if err := json.Unmarshal(line, &m); err != nil {
				t.Error(err)
			}
			said.WriteString(m.Msg)
			if q.Follow && m.Msg == "2" {
				go add(last, "", slog.LevelInfo, "3")
			}
			if m.Msg == "3" {
				d.Close()
			}
			return nil
		})
		if err != nil {
			t.Errorf("%+v: %v", q, err)
		}
		return said.String()
	}
	for _, want := range []struct {
		q    recent.Query
		said string
	}{
		{recent.Query{Last: 10}, "12"}, {recent.Query{Last: 1}, "2"}, {recent.Query{}, ""},
		{recent.Query{Last: 10, Tenant: "acme"}, "1"}, {recent.Query{Last: 10, Host: true}, "2"}, {recent.Query{Last: 10, Follow: true}, "123"},
	} {
		if said := read(want.q); said != want.said {
			t.Errorf("%+v: %q, want %q", want.q, said, want.said)
		}
	}
}

// So many may follow, and those above are told so; who has gone makes room.
func TestFollowers(t *testing.T) {
	_, c, last := openLogging(t)
	add(last, "", slog.LevelInfo, "1")
	ctx, stop := context.WithCancel(t.Context())
	begun, ended := make(chan struct{}), make(chan error)
	for range mostFollowers {
		go func() {
			ended <- c.Logs(ctx, recent.Query{Last: 1, Follow: true}, func([]byte) error { begun <- struct{}{}; return nil })
		}()
		<-begun
	}
	follow := func() error {
		over := errors.New("over")
		err := c.Logs(t.Context(), recent.Query{Last: 1, Follow: true}, func([]byte) error { return over })
		if err == over {
			err = nil
		}
		return err
	}
	if err := follow(); err == nil || !strings.Contains(err.Error(), "follow the log already") {
		t.Errorf("one more: %v", err)
	}
	stop()
	for range mostFollowers {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("one ends with %v", err)
		}
	}
	awaittest.Until(t, "there is room", func() bool { return follow() == nil })
}

// What is not understood is refused.
func TestWrongLogQueries(t *testing.T) {
	_, c, _ := openLogging(t)
	for what, want := range map[string]string{
		"logs?last=-1": "last=-1 is not understood; it is a number", "logs?last=x": "it is a number", "logs?follow=maybe": "true or false", "logs?last=1&last=2": "is there 2 times",
		"logs?name=x": "name=x is not understood", "logs?tenant=none": `has no tenant "none"`, "logs?tenant=acme&host=true": "one of the two", "logs?;": "the query is not understood",
		"errors?limit=0": "a number from 1 to 1000", "errors?last=1": "last=1 is not understood",
	} {
		if err := c.ask(t.Context(), http.MethodGet, what, nil, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", what, err, want)
		}
	}
}
