package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"bulkhead/internal/play"
	"bulkhead/internal/talk"
	"bulkhead/internal/wholefile"

	"github.com/spf13/cobra"
)

// fuzzBound is how many mutants are played: so many, or those that a time is enough for.
type fuzzBound struct {
	mutants uint64
	time    time.Duration
}

func parseFuzz(text string) (b fuzzBound, err error) {
	if text == "" {
		return b, nil
	}
	if b.mutants, err = strconv.ParseUint(text, 10, 64); err == nil && b.mutants > 0 {
		return b, nil
	}
	b = fuzzBound{}
	if b.time, err = time.ParseDuration(text); err != nil || b.time <= 0 {
		return b, fmt.Errorf("--fuzz %s: it is a time such as 10s, or a number of mutants such as 500", text)
	}
	return b, nil
}

// over reports whether n mutants since begin are enough.
func (b fuzzBound) over(n uint64, begin time.Time) bool {
	if b.time > 0 {
		return time.Since(begin) >= b.time
	}
	return n >= b.mutants
}

// playMutants plays mutants of the conversations, one of each in turn, up to the first that fails.
func (t *trial) playMutants(c *cobra.Command, all []*talk.Case, bound fuzzBound) error {
	z, err := play.NewFuzzer(c.Context(), t.handler, all, t.seed)
	if err != nil {
		return fmt.Errorf("--fuzz: %w", err)
	}
	begin, n := time.Now(), uint64(0)
	for ; !bound.over(n, begin); n++ {
		fault, err := z.Try(c.Context(), n)
		if err != nil {
			return err
		}
		if fault != nil {
			return t.writeFault(fault)
		}
	}
	if t.json {
		_ = json.NewEncoder(t.out).Encode(mutantsJSON{OK: true, Mutants: n, Seed: t.seed})
	} else {
		fmt.Fprintf(t.out, "ok    %d mutants of %d conversations, seed %d\n", n, z.Conversations(), t.seed)
	}
	return nil
}

// mutantsJSON is what --json prints of mutants.
type mutantsJSON struct {
	OK      bool     `json:"ok"`
	Mutants uint64   `json:"mutants,omitempty"` // that were played, when all went well
	Seed    uint64   `json:"seed"`
	Case    string   `json:"case,omitempty"`
	Mutant  uint64   `json:"mutant,omitempty"` // that fails
	What    string   `json:"what,omitempty"`
	File    string   `json:"file,omitempty"` // that has its conversation
	Log     []string `json:"log,omitempty"`
}

func (t *trial) writeFault(f *play.Fault) error {
	file := t.fuzzOut
	if file == "" {
		base := filepath.Base(t.handler.Plugin)
		file = strings.TrimSuffix(base, filepath.Ext(base)) + ".fuzz.talk"
	}
	if err := wholefile.Write(file, []byte(f.Conversation())); err != nil {
		return err
	}
	if t.json {
		_ = json.NewEncoder(t.out).Encode(mutantsJSON{Seed: t.seed, Case: f.Case.Name, Mutant: f.Number, What: f.What, File: file, Log: f.Log})
		return errFailed
	}
	fmt.Fprintf(t.out, "FAIL  %s, mutant %d, seed %d\n%s\n", f.Case.Name, f.Number, t.seed, f.What)
	for _, line := range f.Log {
		fmt.Fprintf(t.out, "  log   %s\n", line)
	}
	fmt.Fprintf(t.errs, "%s has it as a conversation\n", file)
	return errFailed
}
