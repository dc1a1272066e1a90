package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"strings"

	"bulkhead/engines"
	"bulkhead/host/config"
	"bulkhead/plugins/admit"
	"bulkhead/plugins/wasm"

	"github.com/spf13/cobra"
)

func inspectCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "inspect X.wasm|X.js|X.ts|X.py|X.lua",
		Short: "Say what a module is, and what it would be refused for",
		Long: `Inspect reads a module without running it: its shape, what it imports and
exports, its memory, and everything that a listener of a tenant with default
limits would refuse it for. Of a script, it reads the module that a listener
makes of it and of what it imports. The exit status is 1 when it would be refused.`,
		Args: one("X.wasm"),
		RunE: func(c *cobra.Command, args []string) error {
			b, files, err := readPlugin(c.Context(), args[0], c.ErrOrStderr())
			if err != nil {
				return err
			}
			module, err := engines.Module(args[0], b)
			if err != nil {
				return err
			}
			report, err := admit.Inspect(module, config.DefaultTenant("").Memory)
			report.Size, report.SHA256 = len(b), sha256.Sum256(b) // as plugin_sha256
			writeReport(c.OutOrStdout(), args[0], &report, err)
			if name, text, ok := engines.Script(module); ok {
				fmt.Fprintf(c.OutOrStdout(), "script    %s: %d bytes, sha256 %x\n", admit.Quoted(string(name)), len(text), sha256.Sum256(text))
			}
			if len(files) > 1 {
				fmt.Fprintf(c.OutOrStdout(), "made of   %s\n", admit.Quoted(strings.Join(files, " ")))
			}
			if len(report.Refused) > 0 {
				return errFailed
			}
			return nil
		},
	}
}

func writeReport(w io.Writer, name string, r *admit.Report, err error) {
	fmt.Fprintf(w, "%s: %d bytes, sha256 %x\n", name, r.Size, r.SHA256)
	if err != nil {
		writeRefusals(w, name, r)
		return
	}
	shape := string(r.Shape)
	if shape == "" {
		shape = "neither events (no csa_data) nor stdio (no _start)"
	}
	fmt.Fprintf(w, "shape     %s\n", shape)
	fmt.Fprintf(w, "memory    %s\n", memoryText(r.Memory))
	for _, t := range r.Tables {
		fmt.Fprintf(w, "table     %s elements\n", limitsText(&t))
	}
	fmt.Fprintf(w, "functions %d, globals %d\n", r.Functions, r.Globals)
	if r.Exceptions {
		encoding := ""
		if r.Legacy {
			encoding = ", in the legacy encoding"
		}
		kinds := "kinds"
		if r.Tags == 1 {
			kinds = "kind"
		}
		fmt.Fprintf(w, "throws    exceptions of %d %s%s; they are rewritten before it runs\n", r.Tags, kinds, encoding)
	}
	if r.Start {
		fmt.Fprintln(w, "start     a function runs when it is instantiated")
	}
	if r.OneConnection {
		fmt.Fprintln(w, `instance  "connection": it exports csa_one_connection, so other listeners refuse it`)
	}
	if r.Shape == admit.Events {
		if why := r.Unsnapshotable; len(why) > 0 {
			fmt.Fprintf(w, "snapshot  no: it %s; each instance starts from nothing\n", strings.Join(why, ", and it "))
		} else {
			fmt.Fprintln(w, "snapshot  yes")
		}
	}
	for _, i := range r.Imports {
		fmt.Fprintf(w, "import    %s %s", admit.Quoted(i.Module+"."+i.Name), signature(i.Kind, i.Type))
		if i.Refused != "" {
			fmt.Fprintf(w, ": refused")
		}
		fmt.Fprintln(w)
	}
	for _, e := range r.Exports {
		fmt.Fprintf(w, "export    %s %s\n", admit.Quoted(e.Name), signature(e.Kind, e.Type))
	}
	if len(r.Ignored) > 0 {
		names := make([]string, len(r.Ignored))
		for i, name := range r.Ignored {
			names[i] = admit.Quoted(name)
		}
		fmt.Fprintf(w, "ignored   custom sections %s\n", strings.Join(names, ", "))
	}
	for _, what := range r.Mended {
		fmt.Fprintf(w, "mended    %s: %s\n", name, what)
	}
	writeRefusals(w, name, r)
}

func writeRefusals(w io.Writer, name string, r *admit.Report) {
	for _, why := range r.Refused {
		fmt.Fprintf(w, "refused   %s: %s\n", name, why)
	}
}

func signature(k wasm.Kind, t wasm.FuncType) string {
	if k == wasm.Function {
		return t.String()
	}
	return k.String()
}

func memoryText(l *wasm.Limits) string {
	if l == nil {
		return "none"
	}
	return limitsText(l) + " pages of 64 KiB"
}

func limitsText(l *wasm.Limits) string {
	if !l.HasMax {
		return fmt.Sprintf("from %d", l.Min)
	}
	return fmt.Sprintf("from %d to %d", l.Min, l.Max)
}
