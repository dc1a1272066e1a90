package main

import (
	"context"
	"errors"
	"fmt"

	"bulkhead/host/admin"
	"bulkhead/host/conns"
)

// Connections lists connections.
func (r *reloader) Connections(ctx context.Context, q conns.Query) (conns.List, error) {
	return r.host.Connections(ctx, q)
}

// Kill closes connections, if the file is the one that is meant.
func (r *reloader) Kill(ctx context.Context, k admin.KillRequest, by string) (done admin.Killed, err error) {
	if err := r.mustServe(k.File); err != nil {
		return done, err
	}
	if k.Filter.All() {
		return done, errors.New("the request does not say which connections are to be closed; add ids, listener, tenant or generation")
	}
	killed, err := r.host.Kill(ctx, k.Filter)
	done = admin.Killed{Closed: len(killed), Missing: admin.NotKilled(k.IDs, killed)}
	if err == nil {
		r.log.Info("connections were closed by the operator", "closed", done.Closed, "by", by)
	}
	return done, err
}

// mustServe says so where a path does not lead to the file.
func (r *reloader) mustServe(file string) error {
	if r.serves(file) {
		return nil
	}
	return fmt.Errorf("the daemon with this state folder serves %s, not %s; name that file, or give the other one a [host] state and a daemon of its own", r.path, file)
}
