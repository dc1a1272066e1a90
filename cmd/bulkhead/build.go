package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"bulkhead/engines"
	"bulkhead/host/config"
	"bulkhead/internal/toolchain"
	"bulkhead/plugins/admit"

	"github.com/spf13/cobra"
)

func buildCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "build [FOLDER|FILE]",
		Short: "Make a module of a handler's source",
		Long: `Build makes a module of a handler, and inspects it. The handler is a file, or a folder
with a project; without an argument, this folder.

Go, C, C++, Rust, AssemblyScript and Zig are built by their compilers, as a module wants it:
build finds the compiler, or says how to install it. C and C++ need no SDK beside them: csa.h
is in this command. C without a C library is built without one.

A script (X.js, X.ts, X.py, X.lua) becomes a module of its engine, with the script and what it
imports in it. It runs wherever a module does, without this command. The same files give the
same bytes, so that plugin_sha256 can pin them. A listener needs no module: plugin = "X.ts"
does the same when it is loaded. Build does not run the script: bulkhead check, with a
configuration that names it, does.

The exit status is 1 when there is no module, or one that a listener with default limits would
refuse.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("build takes one folder or file; it was given %d", len(args))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			path := "."
			if len(args) == 1 {
				path = args[0]
			}
			// Compilers are not in the terminal's process group, and would go on.
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			c.SetContext(ctx)
			name, module, err := buildModule(c, path)
			if err != nil {
				return err
			}
			if output == "" {
				output = name + ".wasm"
			}
			if _, err := toolchain.Replace(output, module); err != nil {
				return err
			}
			report, err := admit.Inspect(module, config.DefaultTenant("").Memory)
			report.Size, report.SHA256 = len(module), sha256.Sum256(module)
			if err != nil || len(report.Refused) > 0 {
				writeReport(c.OutOrStdout(), output, &report, err)
				return errFailed
			}
			fmt.Fprintf(c.OutOrStdout(), "%s: %d bytes, sha256 %x, shape %s\n", output, report.Size, report.SHA256, report.Shape)
			return nil
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "the module's `FILE`; the handler's name with .wasm in this folder, if it is left out")
	return c
}

// buildModule makes a module of a script, or of what a compiler takes, and says what it is called.
func buildModule(c *cobra.Command, path string) (name string, module []byte, err error) {
	path = onlyScript(path)
	if _, compiled := engines.AssemblyScript(path); engines.IsScript(path) && !compiled {
		script, _, err := readPlugin(c.Context(), path, c.ErrOrStderr())
		if err != nil {
			return "", nil, err
		}
		module, err := engines.Module(path, script)
		return strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)), module, err
	}
	source, err := toolchain.Find(path)
	if err != nil {
		return "", nil, err
	}
	module, err = source.Build(c.Context(), c.ErrOrStderr())
	return source.Name(), module, err
}

// onlyScript is the script of a folder that has one, and nothing for a compiler; else the path as
// it is.
func onlyScript(path string) string {
	entries, err := os.ReadDir(path)
	if err != nil {
		return path
	}
	if _, err := toolchain.Find(path); err == nil {
		return path
	}
	var scripts []string
	for _, e := range entries {
		if e.Type().IsRegular() && engines.IsScript(e.Name()) && !strings.HasSuffix(e.Name(), ".d.ts") {
			scripts = append(scripts, filepath.Join(path, e.Name()))
		}
	}
	if len(scripts) == 1 {
		return scripts[0]
	}
	return path
}
