package config

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// WriteLimits writes every key that holds, given or not, with its value: the tables [host],
// [admin], [tenant.NAME], [[listener]] and those in it in TOML, so that the output is itself a
// configuration of the same meaning, save for [listener.config], which may hold secrets and of
// which only the size is told. A remark behind each value says whether it was given, and on which
// line. The error is the writer's.
func (c *Config) WriteLimits(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# The limits in force, from %s.\n", clip(c.File))
	b.WriteString("\n[host]\n")
	writeTable(&b, &c.Host, hostFields, c.Host.lines)
	b.WriteString("\n[admin]\n")
	writeTable(&b, &c.Admin, adminFields, c.Admin.lines)
	for i := range c.Tenants {
		t := &c.Tenants[i]
		fmt.Fprintf(&b, "\n[tenant.%s]\n", quoteKey(t.Name))
		writeTable(&b, t, tenantFields, t.lines)
	}
	for i := range c.Listeners {
		l := &c.Listeners[i]
		b.WriteString("\n[[listener]]\n")
		writeTable(&b, l, listenerFields, l.lines)
		if l.TLS != nil {
			b.WriteString("\n[listener.tls]\n")
			writeTable(&b, l.TLS, tlsFields, l.TLS.lines)
		}
		for i := range l.Routes {
			r := &l.Routes[i]
			b.WriteString("\n[[listener.route]]\n")
			writeTable(&b, r, routeFields, r.lines)
			if r.ownTLS {
				b.WriteString("\n[listener.route.tls]\n")
				writeTable(&b, r.Listener.TLS, tlsFields, r.Listener.TLS.lines)
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// maxColumn is how far to the right the remarks are moved at most.
const maxColumn = 48

// writeTable writes the keys of one table, the remarks in a column.
func writeTable[T any](b *strings.Builder, t *T, fields []field[T], given map[string]int) {
	type row struct{ left, remark string }
	var rows []row
	column := 0
	for _, f := range fields {
		shown := f.show(t)
		if shown == "" {
			continue
		}
		if shown[0] == '#' {
			rows = append(rows, row{left: shown})
			continue
		}
		remarks := []string{cmp.Or(f.from, "default")}
		if line, ok := given[f.name]; ok {
			remarks[0] = fmt.Sprintf("given on line %d", line)
		}
		if f.note != "" {
			remarks = append(remarks, f.note)
		}
		r := row{f.name + " = " + shown, "# " + strings.Join(remarks, "; ")}
		if n := utf8.RuneCountInString(r.left); n <= maxColumn {
			column = max(column, n)
		}
		rows = append(rows, r)
	}
	for _, r := range rows {
		if r.remark == "" {
			fmt.Fprintln(b, r.left)
			continue
		}
		fmt.Fprintf(b, "%-*s  %s\n", column, r.left, r.remark)
	}
}
