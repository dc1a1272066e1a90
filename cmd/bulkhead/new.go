package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"bulkhead/internal/project"

	"github.com/spf13/cobra"
)

func newCommand() *cobra.Command {
	languages := strings.Join(project.Languages(), ", ")
	return &cobra.Command{
		Use:   "new LANGUAGE NAME",
		Short: "Start a handler: a small project that works",
		Long: `New makes the folder NAME with a handler that asks its client for a name, a conversation that
tests it (NAME.talk), a configuration that serves it (NAME.toml), and what the language wants
besides: the guest library, types for the editor. Nothing is fetched, and it builds offline.

Languages: ` + languages + `.`,
		ValidArgs: project.Languages(),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("new takes a language and a name, as in: bulkhead new js greeter; languages: %s", languages)
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			made, err := project.Write(".", args[0], args[1])
			if err != nil {
				return err
			}
			out := c.OutOrStdout()
			for _, f := range made.Files {
				if !strings.HasPrefix(f, "bulkhead"+string(filepath.Separator)) {
					fmt.Fprintf(out, "%s\n", filepath.Join(made.Folder, f))
				}
			}
			name, plugin := args[1], made.Handler
			fmt.Fprintf(out, "\nNext:\n    cd %s\n", made.Folder)
			if !made.Script {
				plugin = name + ".wasm"
				fmt.Fprintln(out, "    bulkhead build")
			}
			for _, next := range [][2]string{
				{"try " + plugin + " --script " + name + ".talk", "plays the conversation"},
				{"try " + plugin, "you are the client"},
				{"run " + name + ".toml", "serves it: nc 127.0.0.1 7000"},
				{"dev " + name + ".toml", "does all of that whenever you save a file"},
			} {
				fmt.Fprintf(out, "    bulkhead %-*s  # %s\n", len("try  --script .talk")+len(plugin)+len(name), next[0], next[1])
			}
			return nil
		},
	}
}
