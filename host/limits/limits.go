// Package limits is the table of the limits that are counted: Tenants, Listeners and Host have a
// row for each. The metrics, the status, the page and bulkhead top read it, so that a limit is
// added by a row here, and by the figures of package stats that the row names. The limits that end
// connections or lose datagrams of a listener have their keys in the tables of csa.Cause and
// csa.Loss, and stats.Listener.ByKey counts them.
//
// Its tests provoke each limit of docs/LIMITS.md, each in a tenant of its own, and want every one
// to be seen by its key where an operator looks.
package limits

import "bulkhead/host/stats"

// Figure is a figure of a T by its name as a metric, which is the tag of its field. The zero value
// is none.
type Figure[T any] struct {
	Metric string
	Help   string // a sentence for docs/METRICS.md
	Of     func(*T) int64
}

// Limit is a row.
type Limit[T any] struct {
	// Key is the name by which the limit is seen everywhere: the key of docs/CONFIG.md that sets
	// it, or several with ", " between them. Keyless: no key sets it, and this is a word of its
	// own.
	Key     string
	Keyless bool
	// Line is what the line of docs/LIMITS.md begins with.
	Line string
	// Used is how much is in use, and Most how much may be; 0 of Most: there is no bound of its
	// own.
	Used, Most Figure[T]
	// Rate is what there may be a second (cpu: seconds). Nil: it bounds what is held. Most is then
	// the same, as an integer.
	Rate func(*T) float64
	// Beside are other figures about it, and Over are totals of how often somebody had to wait for
	// it, or was refused.
	Beside, Over []Figure[T]
	// What is counted by Over, in words for the page.
	What string
	// Mend is what can be done about it. Empty: the key is raised, or whoever uses the most is
	// looked for.
	Mend string
	// Mild says that no peer is turned away by it, and none waits.
	Mild bool
}

// Total is how often somebody had to wait for the limit, or was refused, since the start.
func (l *Limit[T]) Total(of *T) (n int64) {
	for i := range l.Over {
		n += l.Over[i].Of(of)
	}
	return n
}

// Use is how much is in use, and how much may be. There is none without Used.
func (l *Limit[T]) Use(of *T) (use stats.Use, is bool) {
	if l.Used.Of == nil {
		return use, false
	}
	use.Used = l.Used.Of(of)
	if l.Most.Of != nil {
		use.Limit = l.Most.Of(of)
	}
	return use, true
}

// Uses are those of all rows, by key, as the status has them.
func Uses[T any](rows []Limit[T], of *T) map[string]stats.Use {
	all := make(map[string]stats.Use)
	for i := range rows {
		if use, is := rows[i].Use(of); is && rows[i].Rate == nil {
			all[rows[i].Key] = use
		}
	}
	return all
}

// Rates are those of all rows that have one, by key, as the status has them.
func Rates[T any](rows []Limit[T], of *T) map[string]float64 {
	all := make(map[string]float64)
	for i := range rows {
		if rows[i].Rate != nil {
			all[rows[i].Key] = rows[i].Rate(of)
		}
	}
	return all
}
