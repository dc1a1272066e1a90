package main

import (
	"errors"
	"fmt"
	"io"

	"bulkhead/host/config"

	"github.com/spf13/cobra"
)

// Exit codes: 1 is what the user can mend, 2 is a wrong command line.
const (
	exitFailed = 1
	exitUsage  = 2
)

// errFailed is an error that has been reported in full.
var errFailed = errors.New("failed")

// exitError is the status of a worker that has ended, and has reported why.
type exitError int

// Error is for nobody.
func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// run is the command without its process, so that tests can call it.
func run(args []string, stdout, stderr io.Writer) int {
	usage := true // until a command begins
	root := rootCommand()
	root.PersistentPreRun = func(*cobra.Command, []string) { usage = false }
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	var exit exitError
	switch err := root.Execute(); {
	case err == nil:
		return 0
	case err == errFailed:
		return exitFailed
	case errors.As(err, &exit):
		return int(exit)
	case usage:
		fmt.Fprintf(stderr, "bulkhead: %v\nRun 'bulkhead help' for the commands.\n", err)
		return exitUsage
	default:
		report(stderr, err)
		return exitFailed
	}
}

// rootCommand has all commands. Manual pages and completions are made of it.
func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:               "bulkhead",
		Short:             "A connection host: listeners in TOML, protocols in sandboxed WebAssembly",
		Version:           versionLine(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.AddCommand(runCommand(), checkCommand(), reloadCommand(), rollbackCommand(), statusCommand(), connsCommand(), topCommand(), dashCommand(), killCommand(), logsCommand(), drainCommand(), undrainCommand(), levelCommand(), profileCommand(), usageCommand(), inspectCommand(), newCommand(), buildCommand(), tryCommand(), devCommand(), talkCommand(), versionCommand(), compileCommand())
	return root
}

// one wants just one argument, which is called what in the help.
func one(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("%s takes one %s and nothing else; it was given %d", c.Name(), what, len(args))
		}
		return nil
	}
}

// report writes an error; each of a configuration's on a line of its own,
// which starts with the file so that editors can go there.
func report(w io.Writer, err error) {
	var all config.Errors
	if errors.As(err, &all) {
		for _, e := range all {
			fmt.Fprintln(w, e)
		}
		return
	}
	fmt.Fprintf(w, "bulkhead: %v\n", err)
}

// load reads a configuration with one of config's functions, and writes its warnings.
func load(c *cobra.Command, path string, read func(path string) (*config.Config, error)) (*config.Config, error) {
	cfg, err := read(path)
	if err != nil {
		return nil, err
	}
	for _, w := range cfg.Warnings {
		fmt.Fprintf(c.ErrOrStderr(), "warning: %v\n", w)
	}
	return cfg, nil
}
