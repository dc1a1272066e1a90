package config

import (
	"bytes"
	"reflect"
)

// Changes are the keys of [host] whose values are not what they were before.
func (h *Host) Changes(before *Host) []string { return changes(hostFields, h, before) }

// Changes are the keys of the tenant whose values are not what they were before.
func (t *Tenant) Changes(before *Tenant) []string {
	if now, was := t.values(), before.values(); reflect.DeepEqual(&now, &was) {
		return nil
	}
	return changes(tenantFields, t, before)
}

// Changes are the keys of the listener whose values are not what they were before, with "route",
// "tls" and "config" for those tables. That a value was not given and is the default now, or the
// other way round, is no change. What a plugin's file holds is not looked at.
func (l *Listener) Changes(before *Listener) []string {
	now, was := l.values(), before.values()
	same := reflect.DeepEqual(&now, &was)
	var keys []string
	if !same {
		keys = changes(listenerFields, l, before)
	}
	if !reflect.DeepEqual(l.TLS.values(), before.TLS.values()) {
		keys = append(keys, "tls")
	}
	if !bytes.Equal(l.Config, before.Config) {
		keys = append(keys, "config")
	}
	if !sameRoutes(l.Routes, before.Routes, (*Listener).Changes) {
		keys = append(keys, "route")
	}
	if len(keys) == 0 && !same {
		// They are not in the file, and follow from another key.
		keys = append(keys, "the defaults of address")
	}
	return keys
}

// changes are the keys, tables left out, that two values show differently. Showing all keys takes
// some 40 µs, so that whoever compares thousands compares the values themselves first.
func changes[T any](fields []field[T], now, before *T) (keys []string) {
	for i := range fields {
		f := &fields[i]
		if f.table != "" {
			continue
		}
		show := f.show
		if f.raw != nil { // else a value that means nothing here is none
			show = f.raw
		}
		if show(now) != show(before) {
			keys = append(keys, f.name)
		}
	}
	return keys
}

// sameRoutes reports whether routes are the same but for what changes does not find.
func sameRoutes(now, before []Route, changes func(now, before *Listener) []string) bool {
	if len(now) != len(before) {
		return false
	}
	for i := range now {
		n, b := &now[i], &before[i]
		if n.Name != b.Name || !reflect.DeepEqual(n.Rule, b.Rule) || len(changes(&n.Listener, &b.Listener)) > 0 {
			return false
		}
	}
	return true
}

// values is the tenant without what says where it stands in its file.
func (t *Tenant) values() Tenant {
	v := *t
	v.lines, v.Line = nil, 0
	return v
}

// values is the listener without what says where it stands in its file, and without its tables.
func (l *Listener) values() Listener {
	v := *l
	v.lines, v.Line, v.Routes, v.TLS, v.Config = nil, 0, nil, nil, nil
	return v
}

func (t *TLS) values() *TLS {
	if t == nil {
		return nil
	}
	v := *t
	v.lines = nil
	return &v
}
