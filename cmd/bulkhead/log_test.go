package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestLogForms(t *testing.T) {
	for form, isJSON := range map[string]bool{"auto": true, "json": true, "text": false} {
		var b bytes.Buffer
		q, _ := newLog(&b, form, "info", nil)
		q.Logger().Info("said", "key", "a value")
		q.Close(patience)
		if got := json.Valid(b.Bytes()); got != isJSON {
			t.Errorf("log = %q writes %s", form, &b)
		}
	}
}

func TestLogLevels(t *testing.T) {
	for level, want := range map[string]string{
		"debug": "debug info warn error",
		"info":  "info warn error",
		"warn":  "warn error",
		"error": "error",
	} {
		var b bytes.Buffer
		q, _ := newLog(&b, "text", level, nil)
		log := q.Logger()
		auditLog(q).Info("audit")
		log.Debug("debug")
		log.Info("info")
		log.Warn("warn")
		log.Error("error")
		q.Close(patience)
		var got []string
		for line := range strings.Lines(b.String()) {
			got = append(got, attr(line, "msg"))
		}
		if strings.Join(got, " ") != "audit "+want {
			t.Errorf("log_level = %q lets through %q, want %q", level, got, "audit "+want)
		}
	}
}

// What the audit log has is written whatever the level, also with attributes and groups, and is
// marked.
func TestAuditLinesAreThereAtEveryLevel(t *testing.T) {
	var b bytes.Buffer
	q, _ := newLog(&b, "json", "error", nil)
	q.Logger().Warn("not this")
	auditLog(q).Info("one")
	auditLog(q).With("a", 1).WithGroup("g").Info("two", "b", 2)
	q.Close(patience)
	var all []string
	for line := range strings.Lines(b.String()) {
		var l struct {
			Msg, Level string
			Audit      bool
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil || !l.Audit || l.Level != "INFO" {
			t.Errorf("%s: %v", line, err)
		}
		all = append(all, l.Msg)
	}
	if got := strings.Join(all, " "); got != "one two" {
		t.Errorf("the log has %q", got)
	}
}
