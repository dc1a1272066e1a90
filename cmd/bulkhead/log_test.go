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
		log.Debug("debug")
		log.Info("info")
		log.Warn("warn")
		log.Error("error")
		q.Close(patience)
		var got []string
		for line := range strings.Lines(b.String()) {
			got = append(got, attr(line, "msg"))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("log_level = %q lets through %q, want %q", level, got, want)
		}
	}
}
