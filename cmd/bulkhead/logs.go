package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"bulkhead/host/config"
	"bulkhead/host/recent"

	"github.com/spf13/cobra"
)

// keepLinesOf has the last lines be kept of a configuration's tenants.
func keepLinesOf(last *recent.Log, cfg *config.Config) {
	names := make([]string, len(cfg.Tenants))
	for i := range cfg.Tenants {
		names[i] = cfg.Tenants[i].Name
	}
	last.SetTenants(names)
}

// Recent has the last lines of the log.
func (r *reloader) Recent() *recent.Log { return r.recent }

func logsCommand() *cobra.Command {
	var q recent.Query
	c := askCommand("logs FILE", "Print the last lines of the log of the daemon that serves the file",
		fmt.Sprintf(`Logs prints the last lines that the daemon that serves FILE has logged, whatever has become of
them in its log: of all, or of one --tenant, of whom more are kept then, or with --host
those that are about no tenant. With -f it goes on with those that come, until Ctrl-C, or
the daemon's end. Each has the time, the level, what happened, and names with values: connection=N
is the ID that conns, kill and the access log have.

The daemon keeps %d lines of %d KiB of each tenant in memory, at most. Who
reads slower than lines come is told how many are lost to him.

With --json it prints each line as JSON, as a log of that form has it.

The daemon is found by the state folder that FILE names. To use this command, be the
user that the daemon is of, root, or of the group of [admin] view.`, recent.MostLines, recent.MostBytes>>10),
		func(a *asking) error {
			err := a.logs(q)
			if a.ctx.Err() != nil {
				return nil // it was told to end
			}
			return err
		})
	c.Flags().StringVar(&q.Tenant, "tenant", "", "the lines of a tenant")
	c.Flags().BoolVar(&q.Host, "host", false, "the lines that are about no tenant")
	c.Flags().IntVarP(&q.Last, "lines", "n", 100, "how many of the lines that there are, at most")
	c.Flags().BoolVarP(&q.Follow, "follow", "f", false, "go on with the lines that come")
	c.Args = func(c *cobra.Command, args []string) error {
		if q.Last < 0 {
			return fmt.Errorf("logs takes a number of --lines of 0 or more; it was given %d", q.Last)
		}
		if q.Host && q.Tenant != "" {
			return errors.New("logs takes --tenant or --host: the lines of a tenant are none of the host's")
		}
		return one("FILE")(c, args)
	}
	return c
}

// logs prints the lines of a query.
func (a *asking) logs(q recent.Query) error {
	w := bufio.NewWriter(a.out)
	err := a.to.Logs(a.ctx, q, func(line []byte) error {
		if a.json {
			w.Write(line)
		} else {
			writeLine(w, line)
		}
		if w.WriteByte('\n'); !q.Follow {
			return nil
		}
		return w.Flush()
	})
	return errors.Join(err, w.Flush())
}

// writeLine writes a line of the log for people: its time, level and message, and what else it has
// as NAME=VALUE. What is no line of JSON is quoted.
func writeLine(w io.Writer, line []byte) {
	names, values, ok := members(line)
	if !ok {
		_, _ = io.WriteString(w, strconv.QuoteToASCII(string(line)))
		return
	}
	sep := ""
	for i, name := range names {
		value := values[i]
		var text string
		if json.Unmarshal(value, &text) != nil {
			text = string(value)
		}
		switch name {
		case "time":
			if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
				text = at.Local().Format("2006-01-02 15:04:05.000")
			}
			_, _ = fmt.Fprint(w, sep, lineText(text))
		case "level":
			_, _ = fmt.Fprintf(w, "%s%-5s", sep, lineText(text))
		case "msg":
			_, _ = fmt.Fprint(w, sep, lineText(text))
		default:
			_, _ = fmt.Fprint(w, sep, plain(name), "=", word(text))
		}
		sep = " "
	}
}

// members are the names and values of an object of JSON, in order.
func members(line []byte) (names []string, values []json.RawMessage, ok bool) {
	from := json.NewDecoder(bytes.NewReader(line))
	if t, err := from.Token(); err != nil || t != json.Delim('{') {
		return nil, nil, false
	}
	for from.More() {
		t, err := from.Token()
		name, is := t.(string)
		var value json.RawMessage
		if err != nil || !is || from.Decode(&value) != nil {
			return nil, nil, false
		}
		names, values = append(names, name), append(values, value)
	}
	_, err := from.Token()
	return names, values, err == nil
}

// word is text as it is where it can be nothing but one word, and else in quotes.
func word(s string) string {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '"' || r == '=' || !strconv.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
