package main

import (
	"net/http"
	"time"

	"bulkhead/host/metrics"
)

// newMetrics serves the metrics of the reloader's host.
func (r *reloader) newMetrics() *metrics.Handler {
	restarts := int64(0)
	if r.link != nil {
		restarts = r.link.Begin.Restarts
	}
	return metrics.New(metrics.Source{Host: r.host, Version: versionLine(), WorkerRestarts: restarts, LastReload: func() (at time.Time, good bool) {
		if last := r.last.Load(); last != nil {
			at, good = last.At, last.Result == "done"
		}
		return at, good
	}, Refused: r.door.Refused})
}

// ServeMetrics answers a scrape.
func (r *reloader) ServeMetrics(w http.ResponseWriter, req *http.Request) {
	r.metrics.ServeHTTP(w, req)
}
