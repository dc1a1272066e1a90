//go:build manpages

package main

import (
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// With the tag manpages the command is another one: it writes the manual pages into the folder that
// its only argument names. The daemon need not link what that takes.
func init() {
	if len(os.Args) != 2 {
		os.Exit(exitUsage)
	}
	root := rootCommand()
	root.DisableAutoGenTag = true
	for _, c := range root.Commands() {
		c.DisableAutoGenTag = true
	}
	at := time.Unix(0, 0)
	header := &doc.GenManHeader{Section: "1", Source: strings.Fields(root.Version)[1], Manual: "Bulkhead", Date: &at}
	if err := doc.GenManTree(root, header, os.Args[1]); err != nil {
		cobra.CheckErr(err)
	}
	os.Exit(0)
}
