package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"bulkhead/engines"

	"github.com/spf13/cobra"
)

func buildCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "build X.js|X.ts|X.py|X.lua",
		Short: "Make a module of a script",
		Long: `Build makes a module of a handler in JavaScript, TypeScript, Python or Lua: the engine,
with the script and what it imports in it. It runs wherever a module does, without this
command. The same files give the same bytes, so that plugin_sha256 can pin them.
A listener needs no module: plugin = "X.ts" does the same when it is loaded.

It does not run the script: bulkhead check, with a configuration that names it, does.`,
		Args: one("X.js|X.ts|X.py|X.lua"),
		RunE: func(c *cobra.Command, args []string) error {
			if !engines.IsScript(args[0]) {
				return fmt.Errorf("%s is no script that can be built: its name does not end with .js, .mjs, .ts, .mts, .py or .lua", args[0])
			}
			script, _, err := readPlugin(c.Context(), args[0], c.ErrOrStderr())
			if err != nil {
				return err
			}
			module, err := engines.Module(args[0], script)
			if err != nil {
				return err
			}
			if output == "" {
				output = strings.TrimSuffix(filepath.Base(args[0]), filepath.Ext(args[0])) + ".wasm"
			}
			return replaceFile(output, module)
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "the module's `FILE`; X.wasm in this folder, if it is left out")
	return c
}

// replaceFile writes a file that is there whole or as it was, so that who reloads meanwhile does
// not load half of it.
func replaceFile(path string, b []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".bulkhead-build-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(b); err == nil {
		err = f.Chmod(0o644)
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}
