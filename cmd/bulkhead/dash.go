package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"runtime"

	"bulkhead/host/page"
	"bulkhead/host/page/dash"

	"github.com/spf13/cobra"
)

// newPage feeds the page of the reloader's host.
func (r *reloader) newPage() *page.Feed {
	return page.NewFeed(page.Source{Host: r.host, File: r.path, Version: versionLine(), LastReload: func() *page.Reload {
		last := r.last.Load()
		if last == nil {
			return nil
		}
		return &page.Reload{What: last.What, At: last.At, By: last.By, Result: last.Result, Errors: last.Errors}
	}})
}

// ServeEvents has the page be fed.
func (r *reloader) ServeEvents(w http.ResponseWriter, req *http.Request) { r.page.ServeHTTP(w, req) }

func dashCommand() *cobra.Command {
	var at string
	var open bool
	c := askCommand("dash FILE", "Show the daemon that serves the file on a page in a browser",
		`Dash serves a page about the daemon that serves FILE on a port of the loopback address, and
prints its address: what needs attention, tenants beside their limits, listeners,
generations that drain, and connections, which the page can close. Ctrl-C ends it.

The address has a token, and is good for the first browser that opens it. Other users
of the machine get nothing without it. --open has the desktop's browser open it. From
another machine, forward the port: ssh -L 7901:127.0.0.1:7901 HOST, with
--address 127.0.0.1:7901 here.

The daemon is found by the state folder that FILE names. To use this command, be the
user that the daemon is of, root, or of the group of [admin] view. The page of that group
closes no connections.`,
		func(a *asking) error { return a.dash(at, open) })
	c.Flags().StringVar(&at, "address", "127.0.0.1:0", "the loopback address and port to serve the page on; port 0: one that is free")
	c.Flags().BoolVar(&open, "open", false, "have the desktop's browser open it")
	c.Args = func(c *cobra.Command, args []string) error {
		if to, err := netip.ParseAddrPort(at); err != nil || !to.Addr().IsLoopback() {
			return fmt.Errorf("dash takes an --address such as 127.0.0.1:7901, on the loopback; it was given %q", at)
		}
		return one("FILE")(c, args)
	}
	return c
}

// dash serves the page until it is told to end.
func (a *asking) dash(at string, open bool) error {
	st, err := a.to.Status(a.ctx) // whoever cannot ask is told so here, and not in a browser
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		return fmt.Errorf("opening a port for the page: %w; give another --address", err)
	}
	d := dash.Start(l, a.to.Transport(), slog.New(slog.DiscardHandler))
	defer d.Close()
	if a.json {
		err = a.print(map[string]string{"address": d.Address(), "file": st.File})
	} else {
		_, err = fmt.Fprintf(a.out, "%s\nThis address is good for one browser. Ctrl-C ends it.\n", d.Address())
	}
	if err != nil {
		return err
	}
	if open {
		if err := openBrowser(a.ctx, d.Address()); err != nil {
			fmt.Fprintf(a.errs, "warning: %v; open the address yourself\n", err)
		}
	}
	select {
	case <-a.ctx.Done():
		return nil
	case <-d.Done():
		return fmt.Errorf("serving the page: %w", d.Err())
	}
}

// openBrowser has the desktop open an address. Other users of the machine may see it for a moment,
// as an argument of a process: it is good for one visit.
func openBrowser(ctx context.Context, address string) error {
	name := "xdg-open"
	if runtime.GOOS == "darwin" {
		name = "open"
	}
	path, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("there is no %s on this machine", name)
	} else if err != nil {
		return err
	}
	c := exec.CommandContext(ctx, path, address)
	if err := c.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	go func() { _ = c.Wait() }() // it leaves a browser behind, and ends
	return nil
}
