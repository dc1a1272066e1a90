package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"bulkhead/host/admin"
	"bulkhead/host/profile"

	"github.com/spf13/cobra"
)

// Profile takes a profile of the process, if the file is the one that is meant.
func (r *reloader) Profile(ctx context.Context, p admin.ProfileRequest) (taken admin.ProfileTaken, err error) {
	if err := r.mustServe(p.File); err != nil {
		return taken, err
	}
	taken.Data, taken.Took, err = profile.Take(ctx, p.Kind, p.Over())
	return taken, err
}

// savedProfile says where a profile is.
type savedProfile struct {
	Kind    string  `json:"kind"`
	File    string  `json:"file"`
	Bytes   int     `json:"bytes"`
	Seconds float64 `json:"seconds"`
}

func profileCommand() *cobra.Command {
	var seconds int
	var to string
	kinds := strings.Join(profile.Kinds(), ", ")
	c := askCommand("profile FILE [KIND]", "Take a profile of the daemon that serves the file",
		fmt.Sprintf(`Profile takes a profile of the daemon that serves FILE while it serves, and writes it into a file
for go tool pprof or go tool trace. KIND is one of %s:

cpu        where processor time goes, which is what is taken if there is no KIND; all of
           the handlers' code is one function in it
heap       what has taken Go's memory, as the last collection has found it; the handlers'
           memory is not in it: status and top have that
goroutine  where each goroutine stands
trace      what Go's scheduler and collector do; it ends early when it has %d MiB

One is taken at a time. The daemon's log says who has asked for it.

The daemon is found by the state folder that FILE names. To use this command, be the
user that the daemon is of, or root.`, kinds, profile.MostTrace>>20),
		func(a *asking) error {
			p := admin.ProfileRequest{File: a.path, Kind: kindOf(a.more), Seconds: float64(seconds)}
			taken, err := a.to.Profile(a.ctx, p)
			if err != nil {
				return err
			}
			if to == "-" {
				_, err = a.out.Write(taken.Data)
				return err
			}
			saved := savedProfile{p.Kind, to, len(taken.Data), taken.Took.Seconds()}
			if saved.File == "" {
				saved.File = "bulkhead-" + p.Kind + ".pprof"
				if p.Kind == profile.Trace {
					saved.File = "bulkhead.trace"
				}
			}
			if err := os.WriteFile(saved.File, taken.Data, 0o600); err != nil {
				return fmt.Errorf("writing the profile: %w; -o names another file", err)
			}
			if a.json {
				return a.print(saved)
			}
			tool := "pprof"
			if p.Kind == profile.Trace {
				tool = "trace"
			}
			_, err = fmt.Fprintf(a.out, "%s has %d bytes of %.1f s; look at it with: go tool %s %s\n", saved.File, saved.Bytes, saved.Seconds, tool, saved.File)
			return err
		})
	c.Flags().IntVar(&seconds, "seconds", 0, fmt.Sprintf("for how long, of cpu and trace: from 1 to %.0f (default %.0f)", profile.MostTime.Seconds(), profile.DefaultTime.Seconds()))
	c.Flags().StringVarP(&to, "output", "o", "", "the file to write; -: standard output (default bulkhead-KIND.pprof, or bulkhead.trace, in this folder)")
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 || len(args) > 2 {
			return fmt.Errorf("profile takes one FILE, and then one of %s", kinds)
		}
		kind := kindOf(args[1:])
		if !slices.Contains(profile.Kinds(), kind) {
			return fmt.Errorf("profile takes one of %s behind the FILE; it was given %q", kinds, kind)
		}
		if c.Flags().Changed("seconds") && seconds < 1 {
			return fmt.Errorf("profile takes from 1 to %.0f --seconds; it was given %d", profile.MostTime.Seconds(), seconds)
		}
		return profile.Check(kind, time.Duration(seconds)*time.Second)
	}
	return c
}

// kindOf is the kind that is asked for.
func kindOf(args []string) string {
	if len(args) == 0 {
		return profile.CPU
	}
	return args[0]
}
