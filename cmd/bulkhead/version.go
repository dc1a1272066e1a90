package main

import (
	"fmt"
	"runtime/debug"

	"bulkhead/abi"

	"github.com/spf13/cobra"
)

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, the ABI and the engine",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), versionLine())
			return err
		},
	}
}

// version is that of a package, which the linker sets; "" in other builds.
var version string

// versionLine is what the command, --version and -v print.
func versionLine() string {
	bulkhead, engine, goVersion := "unknown", "unknown", "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		bulkhead, goVersion = info.Main.Version, info.GoVersion
		for _, dep := range info.Deps {
			if dep.Path == "github.com/tetratelabs/wazero" {
				engine = dep.Version
			}
		}
	}
	if version != "" {
		bulkhead = version
	}
	return fmt.Sprintf("bulkhead %s, ABI %s, wazero %s, %s", bulkhead, abi.Module, engine, goVersion)
}
