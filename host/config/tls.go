package config

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"bulkhead/host/certs"
)

// TLS is how a listener's connections are encrypted: a table [listener.tls].
type TLS struct {
	// Certs and Keys are absolute paths of PEM files, as many of the one as of the
	// other.
	Certs, Keys []string
	// SelfSigned, instead of those, are the names of a certificate that is made when the
	// host starts.
	SelfSigned []string
	// ClientCA is the absolute path of a PEM file, or "". ClientAuth is "require",
	// "verify" or "off".
	ClientCA, ClientAuth string
	// ClientCRL is the absolute path of a file of revocation lists, or "".
	ClientCRL string
	// TicketKeys are absolute paths of files of random bytes, the first for new tickets.
	TicketKeys []string
	// MinVersion is "1.2" or "1.3".
	MinVersion string
	// ALPN are application protocols, the best first.
	ALPN []string
	// StartTLS leaves the beginning to the handler's makessl.
	StartTLS bool
	// HandshakeTimeout is never 0.
	HandshakeTimeout time.Duration

	lines map[string]int
}

// Options are what package certs is told.
func (t *TLS) Options() certs.Options {
	o := certs.Options{SelfSigned: t.SelfSigned, ClientCA: t.ClientCA, ClientAuth: t.ClientAuth, ClientCRL: t.ClientCRL, TicketKeys: t.TicketKeys, MinVersion: t.MinVersion, ALPN: t.ALPN}
	for i := range t.Certs {
		o.Pairs = append(o.Pairs, certs.Pair{Cert: t.Certs[i], Key: t.Keys[i]})
	}
	return o
}

// DefaultTLS gives the settings of a [listener.tls] that says nothing, for programs that
// make a Config themselves: Certs and Keys are left to them.
func DefaultTLS() TLS {
	var t TLS
	setDefaults(&t, tlsFields)
	return t
}

const fileList = "the path of a PEM file, or a list of up to 64"

var tlsFields = []field[TLS]{
	filesField("cert", func(t *TLS) *[]string { return &t.Certs }).is(columns{reload: InPlace}),
	filesField("key", func(t *TLS) *[]string { return &t.Keys }).is(columns{reload: InPlace}),
	{
		name: "self_signed",
		want: `a list of up to 64 names or IP addresses, like ["localhost"]`,
		read: func(t *TLS, v *value) {
			if list, ok := v.list(64); ok {
				t.SelfSigned = list
			}
		},
		show: func(t *TLS) string {
			if t.SelfSigned == nil {
				return ""
			}
			return tomlList(t.SelfSigned)
		},

		columns: columns{reload: InPlace},
	},
	fileField("client_ca", func(t *TLS) *string { return &t.ClientCA }).is(columns{reload: InPlace}),
	fileField("client_crl", func(t *TLS) *string { return &t.ClientCRL }).is(columns{reload: InPlace}),
	choiceField("client_auth", []string{"require", "verify", "off"}, func(t *TLS) *string { return &t.ClientAuth }).is(columns{deflt: "off", reload: InPlace}),
	choiceField("min_version", []string{"1.2", "1.3"}, func(t *TLS) *string { return &t.MinVersion }).is(columns{deflt: "1.2", reload: InPlace}),
	{
		name: "alpn",
		want: `a list of up to 16 protocols of 1 to 255 bytes, like ["h2", "http/1.1"]`,
		read: func(t *TLS, v *value) {
			list, ok := v.list(16)
			for _, s := range list {
				if s == "" || len(s) > 255 {
					v.bad("has a protocol of " + fmt.Sprint(len(s)) + " bytes")
					return
				}
			}
			if ok {
				t.ALPN = list
			}
		},
		show: func(t *TLS) string { return tomlList(t.ALPN) },

		columns: columns{reload: InPlace},
	},
	boolField("starttls", func(t *TLS) *bool { return &t.StartTLS }).is(columns{reload: NewGeneration, note: "true: only what the handler asks for, with makessl"}),
	filesField("ticket_keys", func(t *TLS) *[]string { return &t.TicketKeys }).is(columns{reload: InPlace}).with(func(f *field[TLS]) {
		f.want = "the path of a file of 32 to 4096 random bytes, or a list of up to 64"
	}),
	durationField("handshake_timeout", 10*time.Millisecond, 10*time.Minute, time.Millisecond, "", "10s", func(t *TLS) *time.Duration { return &t.HandshakeTimeout }).is(columns{deflt: "10s", reload: InPlace}),
}

// fileField is the path of a PEM file.
func fileField(name string, at func(*TLS) *string) field[TLS] {
	return field[TLS]{
		name: name,
		want: "the path of a PEM file",
		read: func(t *TLS, v *value) {
			if s, ok := v.str(); ok {
				if path, ok := v.file(s); ok {
					*at(t) = path
				}
			}
		},
		show: func(t *TLS) string {
			if *at(t) == "" {
				return ""
			}
			return Quote(*at(t))
		},
	}
}

// filesField is one path or several.
func filesField(name string, at func(*TLS) *[]string) field[TLS] {
	return field[TLS]{
		name: name,
		want: fileList,
		read: func(t *TLS, v *value) {
			list := []string{}
			if s, one := v.v.(string); one {
				list = append(list, s)
			} else {
				var ok bool
				if list, ok = v.list(64); !ok {
					return
				}
			}
			if len(list) == 0 {
				v.bad("is empty")
				return
			}
			for _, s := range list {
				path, ok := v.file(s)
				if !ok {
					return
				}
				*at(t) = append(*at(t), path)
			}
		},
		show: func(t *TLS) string {
			if *at(t) == nil {
				return ""
			}
			return tomlList(*at(t))
		},
	}
}

// list gives the value as a list of at most so many texts, or reports that it is none.
func (v *value) list(most int) ([]string, bool) {
	items, ok := v.v.([]any)
	if !ok {
		v.wrongType()
		return nil, false
	}
	if len(items) > most {
		v.bad(fmt.Sprintf("has %d entries", len(items)))
		return nil, false
	}
	if len(items) == 0 {
		return nil, true
	}
	list := make([]string, len(items))
	for i, item := range items {
		if list[i], ok = item.(string); !ok {
			v.bad("has an entry that is " + kind(item))
			return nil, false
		}
	}
	return list, true
}

// file makes a path of the file absolute, or reports that it is none.
func (v *value) file(s string) (string, bool) {
	if s == "" || strings.ContainsRune(s, 0) {
		v.bad("is no path")
		return "", false
	}
	if !filepath.IsAbs(s) {
		s = filepath.Join(v.d.dir, s)
	}
	return filepath.Clean(s), true
}

func tomlList(list []string) string {
	all := make([]string, len(list))
	for i, s := range list {
		all[i] = Quote(s)
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// readTLS reads a listener's [listener.tls].
func readTLS(l *Listener, v *value) { readTLSAt(l, v, "[listener.tls]") }

// readTLSAt reads such a table at a place.
func readTLSAt(l *Listener, v *value, place string) {
	table, ok := v.v.(map[string]any)
	if !ok {
		v.wrongType()
		return
	}
	t := DefaultTLS()
	before := len(v.d.errs)
	t.lines = readTable(v.d, &t, tlsFields, table, v.n, place)
	if len(v.d.errs) == before {
		if _, given := t.lines["client_auth"]; !given && t.ClientCA != "" {
			t.ClientAuth = "require"
		}
		v.d.checkTLS(&t, v.n.Line, place)
	}
	l.TLS = &t
}

// checkTLS looks at what no single key of the table can tell.
func (d *decoder) checkTLS(t *TLS, line int, place string) {
	if len(t.Certs) != len(t.Keys) {
		d.fail(lineOf(t.lines, "key", line), "give as many keys as certs, in the same order", "there are %d certs and %d keys", len(t.Certs), len(t.Keys))
		return
	}
	if (t.ClientCA != "") != (t.ClientAuth != "off") {
		d.fail(lineOf(t.lines, "client_auth", lineOf(t.lines, "client_ca", line)), "give both, or neither", "client_ca and client_auth go together, and client_auth is %q", t.ClientAuth)
		return
	}
	if t.ClientCRL != "" && t.ClientAuth == "off" {
		d.fail(lineOf(t.lines, "client_crl", line), "give client_ca, or leave client_crl out", "client_crl is of no use where no client shows a certificate")
		return
	}
	c, err := certs.Load(t.Options())
	if err != nil {
		d.fail(t.blame(err.Error(), line), "mend the file, or name another", "%s: %v", place, err)
		return
	}
	for _, w := range c.Warnings() {
		d.warn(t.blame(w.What, line), w.Mend, "%s: %s", place, w.What)
	}
}

// blame is the line of the key whose file is at fault.
func (t *TLS) blame(what string, line int) int {
	for _, key := range []string{"client_crl", "ticket_keys", "client_ca"} {
		if strings.Contains(what, key+": ") || strings.Contains(what, "reading "+key) {
			return lineOf(t.lines, key, line)
		}
	}
	for key, paths := range map[string][]string{"client_ca": {t.ClientCA}, "ticket_keys": t.TicketKeys, "key": t.Keys} {
		for _, path := range paths {
			if path != "" && strings.Contains(what, path) && !strings.Contains(what, "certificate "+path) {
				return lineOf(t.lines, key, line)
			}
		}
	}
	return lineOf(t.lines, "cert", line)
}
