package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"bulkhead/internal/capture"
	"bulkhead/internal/wholefile"

	"github.com/spf13/cobra"
)

func talkCommand() *cobra.Command {
	var port uint16
	var output string
	c := &cobra.Command{
		Use:   "talk F.pcap",
		Short: "Make conversations of a capture of traffic",
		Long: `Talk reads a capture of tcpdump or Wireshark, pcap or pcapng, and writes a
conversation for each TCP connection to a port: what the client has sent, what the
server has answered, pauses of a second or more, and how each side has ended. docs/TALK.md is the
format, and bulkhead try plays it. When there are connections to more than one port, --port
says which; without it those that there are are listed.

Bytes that are not in the capture are a comment, and so is what the client has sent behind the
server's end. Traffic that is encrypted stays so: capture it in the clear.

The exit status is 1 when there is no connection to write.`,
		Args: one("F.pcap"),
		RunE: func(c *cobra.Command, args []string) error {
			text, _, err := conversations(c.ErrOrStderr(), args[0], port)
			if err != nil {
				return err
			}
			if output != "" {
				return wholefile.Write(output, text)
			}
			_, err = c.OutOrStdout().Write(text)
			return err
		},
	}
	c.Flags().Uint16Var(&port, "port", 0, "the server's port")
	c.Flags().StringVarP(&output, "output", "o", "", "write to this `FILE`, in place of what is in it")
	return c
}

// conversations is the text of the conversations in a capture. Port 0 is the only one that there
// is, which it returns. It tells errs what could not be read, or that a port has to be named.
func conversations(errs io.Writer, name string, port uint16) (text []byte, of uint16, err error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	if port == 0 {
		if port, err = onlyPort(errs, file, name); err != nil {
			return nil, 0, err
		}
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return nil, 0, fmt.Errorf("%s is read twice to find out the port: name it with --port: %w", name, err)
		}
	}
	traffic, err := capture.Read(file, port)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", name, err)
	}
	if s := traffic.Skipped; s.Broken != nil {
		fmt.Fprintf(errs, "%s: what is behind a broken place is not read: %v\n", name, s.Broken)
	}
	if n := traffic.Skipped.Truncated; n > 0 {
		fmt.Fprintf(errs, "%s has only the beginnings of %d packets: capture them whole, with tcpdump -s 0\n", name, n)
	}
	if n := traffic.Skipped.Fragments; n > 0 {
		fmt.Fprintf(errs, "%s has %d pieces of IP packets, which are left out\n", name, n)
	}
	if n := traffic.Datagrams; n > 0 {
		fmt.Fprintf(errs, "%s has %d datagrams of UDP on port %d, which are left out: conversations are over TCP\n", name, n, port)
	}
	if traffic.Cut {
		fmt.Fprintf(errs, "%s has more than is kept, 1000 connections and 3 MiB: choose some by tcpdump -r %s -w OTHER 'host ...'\n", name, name)
	}
	if len(traffic.Connections) == 0 {
		return nil, 0, fmt.Errorf("%s has no connection to port %d; bulkhead talk %s lists what there is", name, port, name)
	}
	return traffic.Conversations(filepath.Base(name)), port, nil
}

// mostPorts is how many ports are listed.
const mostPorts = 20

// onlyPort is the port to which there are connections, if there is one; else it lists all.
func onlyPort(errs io.Writer, file io.Reader, name string) (uint16, error) {
	all, _, err := capture.Ports(file)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	if len(all) == 0 {
		return 0, fmt.Errorf("%s has no connections of TCP", name)
	}
	if tcp := slices.DeleteFunc(slices.Clone(all), func(p capture.Port) bool { return p.Network != "tcp" }); len(tcp) == 1 {
		return tcp[0].Number, nil
	}
	only := all[0].Number
	for _, p := range all[1:] {
		if p.Number != only {
			fmt.Fprintf(errs, "%s has connections to more than one port:\n", name)
			for _, p := range all[:min(len(all), mostPorts)] {
				fmt.Fprintf(errs, "  --port %-5d  %s, %d connections, %d bytes\n", p.Number, p.Network, p.Connections, p.Bytes)
			}
			if more := len(all) - mostPorts; more > 0 {
				fmt.Fprintf(errs, "  and %d more\n", more)
			}
			return 0, errors.New("name one of them with --port")
		}
	}
	return only, nil
}
