package main

import (
	"os"

	"bulkhead/engines/bundle"
	"bulkhead/plugins/compiler"

	"github.com/spf13/cobra"
)

// compileName is the command that the host starts to have one module compiled, or one script made
// of several files.
const compileName = "compile-module"

// compileCommand is not for users. It takes the limits as they are, one after
// the other, and what went wrong goes to standard output.
func compileCommand() *cobra.Command {
	return &cobra.Command{
		Use:                compileName + " MEMORY SECONDS CODE [TASK]",
		Short:              "Compile one module, within limits, for the host that starts it",
		Hidden:             true,
		DisableFlagParsing: true, // a limit may be -1
		RunE: func(_ *cobra.Command, args []string) error {
			if compiler.Main(args, bundle.Task()) != 0 {
				return errFailed
			}
			return nil
		},
	}
}

// compileWith is what modules are compiled with; nil: this process. main alone
// sets it, since a test binary that started itself would run the tests.
var compileWith []string

// selfCompiler is the command line that has this program compile one module.
// There is none when the system does not say where the program is.
func selfCompiler() []string {
	exe, err := os.Executable()
	if err != nil {
		return nil
	}
	return []string{exe, compileName}
}
