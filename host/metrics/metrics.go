// Package metrics serves what a host tells of itself to Prometheus and its like. Families is the
// table of it, by which it is written, documented and tested.
//
//	http.Handle("GET /metrics", metrics.New(source))
//
// The query of a request may choose: tenant=NAME has the families that are of tenants, and those
// tenants alone; name[]=FAMILY has the families of that name. Either may come several times.
package metrics

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"bulkhead/host/openmetrics"
	"bulkhead/host/stats"
)

// Host is a host.Host, as far as it is needed here.
type Host interface {
	// Refresh has FillStats know of the connections that are open. It takes a second at most, and
	// reports whether it knows of all.
	Refresh(ctx context.Context) bool
	// FillStats fills st, in the memory that it has.
	FillStats(st *stats.Host)
}

// Source is what is told of.
type Source struct {
	Host Host
	// Version is the program's.
	Version string
	// LastReload says when the reload or rollback was over that was over last, and whether the
	// configuration that was asked for is in force; the zero time: there was none. Nil: that is not
	// known. Any goroutine may call it.
	LastReload func() (at time.Time, good bool)
	// Refused counts requests to the daemon itself that were refused, by reason, which is one of a
	// few words. Nil: that is not known. Any goroutine may call it.
	Refused func() map[string]int64
	// WorkerRestarts is how many processes before this one have died and were replaced by the
	// supervisor.
	WorkerRestarts int64
}

// Handler answers scrapes. Several may be made at once.
type Handler struct {
	source Source
	spare  chan *scrape // what the next one uses again
}

// New makes a Handler.
func New(s Source) *Handler { return &Handler{source: s, spare: make(chan *scrape, 1)} }

// scrape is one answer.
type scrape struct {
	source *Source
	stats  stats.Host
	query  query
	e      *openmetrics.Encoder
	zip    *gzip.Writer
	text   openmetrics.Labels // of all labels
	// Labels of each tenant, listener and generation; nil: it is not wanted.
	tenants, listeners, generations []openmetrics.Labels
	labels                          openmetrics.Labels // of one sample
	process                         process
}

// query is what a request wants; nil: all.
type query struct{ tenants, names []string }

// mostWanted is how many values of each kind a query may have.
const mostWanted = 1000

func parseQuery(r *http.Request) (q query, err error) {
	for key, values := range r.URL.Query() {
		if len(values) > mostWanted {
			return q, fmt.Errorf("%s comes %d times; leave it out to have all, or ask for %d at a time", key, len(values), mostWanted)
		}
		switch key {
		case "tenant":
			q.tenants = values
		case "name[]":
			q.names = values
		default:
			return q, fmt.Errorf("nothing is known of %s in the query; tenant=NAME and name[]=FAMILY are", strconv.Quote(key))
		}
	}
	return q, nil
}

// ServeHTTP answers with all metrics, or those that the query wants.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q, err := parseQuery(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	format := openmetrics.Negotiate(r.Header.Get("Accept"))
	header := w.Header()
	header.Set("Content-Type", format.ContentType())
	header.Set("Vary", "Accept, Accept-Encoding")
	header.Set("Cache-Control", "no-store")
	zipped := openmetrics.TakesGzip(r.Header.Get("Accept-Encoding"))
	if zipped {
		header.Set("Content-Encoding", "gzip")
	}
	_ = h.source.Host.Refresh(r.Context()) // the lag of loops is a metric
	var s *scrape
	select {
	case s = <-h.spare:
	default:
		s = &scrape{source: &h.source, e: openmetrics.NewEncoder(nil, format)}
	}
	_ = s.write(w, format, zipped, q) // whoever has asked is gone
	select {
	case h.spare <- s:
	default:
	}
}

// write writes all of it.
func (s *scrape) write(to io.Writer, format openmetrics.Format, zipped bool, q query) error {
	s.query = q
	s.source.Host.FillStats(&s.stats)
	s.process.read()
	s.label()
	if zipped {
		if s.zip == nil {
			s.zip, _ = gzip.NewWriterLevel(nil, gzip.BestSpeed) // a level that there is
		}
		s.zip.Reset(to)
		to = s.zip
	}
	s.e.Reset(to, format)
	for i := range table {
		if f := &table[i]; s.wants(f) {
			s.e.Begin(&f.Family.Family)
			f.write(s, f)
		}
	}
	err := s.e.End()
	s.e.Reset(nil, format)
	if zipped && err == nil {
		err = s.zip.Close()
	}
	return err
}

func (s *scrape) wants(f *family) bool {
	if s.query.tenants != nil && !slices.Contains(f.Labels, "tenant") {
		return false
	}
	return s.query.names == nil || slices.Contains(s.query.names, f.Name)
}

// label makes the labels of everybody.
func (s *scrape) label() {
	s.text = s.text[:0]
	s.tenants, s.listeners, s.generations = s.tenants[:0], s.listeners[:0], s.generations[:0]
	for i := range s.stats.Tenants {
		t := &s.stats.Tenants[i]
		s.tenants = append(s.tenants, s.of(t.Name))
	}
	for i := range s.stats.Listeners {
		l := &s.stats.Listeners[i]
		s.listeners = append(s.listeners, s.of(l.Tenant, "listener", l.Name))
	}
	for i := range s.stats.Generations {
		g := &s.stats.Generations[i]
		s.generations = append(s.generations, s.of(g.Tenant, "listener", g.Listener, "generation", strconv.FormatInt(g.Number, 10)))
	}
}

// of makes the labels of something of a tenant's; nil: it is not wanted.
func (s *scrape) of(tenant string, others ...string) openmetrics.Labels {
	if s.query.tenants != nil && !slices.Contains(s.query.tenants, tenant) {
		return nil
	}
	start := len(s.text)
	labels := openmetrics.AppendLabel(s.text[start:], "tenant", tenant)
	for i := 0; i < len(others); i += 2 {
		labels = openmetrics.AppendLabel(labels, others[i], others[i+1])
	}
	if cap(labels) == cap(s.text[start:]) {
		s.text = s.text[:start+len(labels)] // it is there
	} else {
		s.text = append(s.text, labels...) // which makes room for the next time
	}
	return labels[:len(labels):len(labels)]
}

// with are labels and others behind them, until it is called again.
func (s *scrape) with(labels openmetrics.Labels, more string) openmetrics.Labels {
	s.labels = append(s.labels[:0], labels...)
	if len(labels) > 0 {
		s.labels = append(s.labels, ',')
	}
	s.labels = append(s.labels, more...)
	return s.labels
}

// figure writes a sample of a figure, which is in nanoseconds where the unit is seconds.
func (s *scrape) figure(f *family, labels openmetrics.Labels, v int64) {
	if f.Unit == "seconds" {
		s.e.Seconds(labels, time.Duration(v))
	} else {
		s.e.Int(labels, v)
	}
}
