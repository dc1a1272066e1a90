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
			version, engine, goVersion := "unknown", "unknown", "unknown"
			if info, ok := debug.ReadBuildInfo(); ok {
				version, goVersion = info.Main.Version, info.GoVersion
				for _, dep := range info.Deps {
					if dep.Path == "github.com/tetratelabs/wazero" {
						engine = dep.Version
					}
				}
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), "bulkhead %s, ABI %s, wazero %s, %s\n", version, abi.Module, engine, goVersion)
			return err
		},
	}
}
