package recent

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Error is something that has gone wrong lately: a line of the log of level WARN or above, and how
// often the like of it came.
type Error struct {
	// Time is when it came last, and First when it first did, of those that are kept.
	Time  time.Time `json:"time"`
	First time.Time `json:"first"`
	// Times is how often, of those that are kept: lines that log_lines and the like have left out
	// are not.
	Times int64 `json:"times"`
	// Level is "WARN" or "ERROR".
	Level string `json:"level"`
	// The rest is of the last one. Tenant, Listener, Peer and Connection are whom it is about; ""
	// and 0: nobody.
	Tenant     string `json:"tenant,omitempty"`
	Listener   string `json:"listener,omitempty"`
	Connection uint64 `json:"connection,omitempty"`
	Peer       string `json:"peer,omitempty"`
	// What has gone wrong, and Why, which is "" where What says all. Why may be text of a handler's
	// or a peer's.
	What string `json:"what"`
	Why  string `json:"why,omitempty"`
	// In is where a handler was that has trapped, the innermost call first, by what its module says
	// of it.
	In string `json:"in,omitempty"`
	// Cause is that of a connection's end, and Key the key of the limit, or several with ", "
	// between; "": none.
	Cause string `json:"cause,omitempty"`
	Key   string `json:"key,omitempty"`
	// Mend says what to do; "": What and Why say it, as far as that is known.
	Mend string `json:"mend,omitempty"`
}

// Errors are the last n errors of a tenant, or of all and of the host (""), the latest first. Those
// that have the same tenant, listener, words, cause and key are one.
func (l *Log) Errors(tenant string, n int) []Error {
	type alike struct{ tenant, listener, what, cause, key string }
	found := make(map[alike]*Error)
	var b []byte
	for _, o := range l.owners(tenant) {
		newest, younger := o.newest.Load(), 0
		for _, e := range found {
			if e.Time.UnixNano() > newest {
				younger++
			}
		}
		if younger >= n {
			break // what follows is older than what there is
		}
		b, _, _ = o.errors.read(b[:0], place{}, errorBytes)
		for line := range bytes.Lines(b) {
			e, ok := parse(line)
			if !ok {
				continue
			}
			key := alike{e.Tenant, e.Listener, e.What, e.Cause, e.Key}
			if before := found[key]; before != nil {
				e.First, e.Times = before.First, before.Times+e.Times
			}
			found[key] = &e
		}
	}
	all := make([]Error, 0, len(found))
	for _, e := range found {
		all = append(all, *e)
	}
	slices.SortFunc(all, func(a, b Error) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Listener, b.Listener), cmp.Compare(a.What, b.What))
	})
	return all[:min(len(all), max(n, 0))]
}

// parse reads an error from a line.
func parse(line []byte) (e Error, ok bool) {
	var l struct {
		Error
		Msg     string `json:"msg"`
		Err     any    `json:"error"`
		Reason  string `json:"reason"`
		Text    string `json:"text"`
		Warning string `json:"warning"`
		Panic   string `json:"panic"`
	}
	if json.Unmarshal(line, &l) != nil {
		return e, false
	}
	e = l.Error
	e.First, e.Times, e.What = e.Time, 1, l.Msg
	said, _ := l.Err.(string)
	e.Why = cmp.Or(e.Why, said, l.Reason, l.Text, l.Warning, l.Panic)
	if e.Mend == "" && e.Key != "" {
		e.Mend = mendOfKey(e.Key)
	}
	return e, true
}

// mendOfKey says what to do where a limit was reached.
func mendOfKey(key string) string {
	if strings.Contains(key, ", ") {
		return "the keys " + key + " set these limits: raise one, or mend what reaches it"
	}
	return "the key " + key + " sets this limit: raise it, or mend what reaches it"
}
