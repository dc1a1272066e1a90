package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"bulkhead/host/conns"
)

// KillRequest is what POST /v1/kill takes. What it says all has to fit a connection; nothing at all
// means no connection, and is refused.
type KillRequest struct {
	// File is as in ReloadRequest.
	File string `json:"file"`
	conns.Filter
}

// mostSaid is how many IDs of a request the log has.
const mostSaid = 20

func (r *KillRequest) words() []any {
	return []any{"ids", r.IDs[:min(len(r.IDs), mostSaid)], "more_ids", max(0, len(r.IDs)-mostSaid), "listener", clip(r.Listener), "tenant", clip(r.Tenant), "generation", r.Generation}
}

// Killed is what POST /v1/kill answers.
type Killed struct {
	// Closed is how many connections were closed.
	Closed int `json:"closed"`
	// Missing are those of the ids that were asked for which no open connection has, or not one
	// that the rest of the request fits.
	Missing []uint64 `json:"missing,omitempty"`
}

// NotKilled are the ids asked for that are not among those killed, which are sorted.
func NotKilled(asked, killed []uint64) (missing []uint64) {
	for _, id := range asked {
		if _, ok := slices.BinarySearch(killed, id); !ok {
			missing = append(missing, id)
		}
	}
	return missing
}

// The names in the query of GET /v1/conns.
const (
	inListener   = "listener"
	inTenant     = "tenant"
	inGeneration = "generation"
	inSort       = "sort"
	inLimit      = "limit"
	inOver       = "over"
)

// values writes a query for a request.
func values(q conns.Query) url.Values {
	v := url.Values{}
	set := func(name, value string, given bool) {
		if given {
			v.Set(name, value)
		}
	}
	set(inListener, q.Listener, q.Listener != "")
	set(inTenant, q.Tenant, q.Tenant != "")
	set(inGeneration, strconv.FormatInt(q.Generation, 10), q.Generation != 0)
	set(inSort, q.Sort, q.Sort != "")
	set(inLimit, strconv.Itoa(q.Limit), q.Limit > 0)
	set(inOver, q.Over.String(), q.Over > 0)
	return v
}

// query reads it. It takes nothing that it does not know, and each name once.
func query(v url.Values) (q conns.Query, err error) {
	for name, all := range v {
		bad := fmt.Errorf("%s=%s is not understood", clip(name), clip(all[0]))
		if len(all) > 1 {
			return q, fmt.Errorf("%s is there %d times", clip(name), len(all))
		}
		switch value := all[0]; name {
		case inListener:
			q.Listener = value
		case inTenant:
			q.Tenant = value
		case inSort:
			q.Sort = value
		case inGeneration:
			if q.Generation, err = strconv.ParseInt(value, 10, 64); err != nil || q.Generation <= 0 {
				return q, fmt.Errorf("%w; a generation is a number from 1 on", bad)
			}
		case inLimit:
			if q.Limit, err = strconv.Atoi(value); err != nil || q.Limit <= 0 {
				return q, fmt.Errorf("%w; a limit is a number of connections from 1 on", bad)
			}
		case inOver:
			if q.Over, err = time.ParseDuration(value); err != nil || q.Over <= 0 {
				return q, fmt.Errorf("%w; rates are taken over a time, such as 1s", bad)
			}
		default:
			return q, fmt.Errorf("%w; the names are %s, %s, %s, %s, %s and %s", bad, inListener, inTenant, inGeneration, inSort, inLimit, inOver)
		}
	}
	return q, q.Check()
}

// connections answers with a list, a connection at a time.
func (d *Door) connections(w http.ResponseWriter, r *http.Request) {
	daemon := d.inside(w)
	if daemon == nil {
		return
	}
	asked, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		d.fail(w, http.StatusBadRequest, fmt.Errorf("the query is not understood: %w", err))
		return
	}
	q, err := query(asked)
	if err != nil {
		d.fail(w, http.StatusBadRequest, err)
		return
	}
	ctx, cancel := context.WithTimeoutCause(r.Context(), listTime+q.Over, errors.New("the loops do not answer: one of them stands still"))
	defer cancel()
	list, err := daemon.Connections(ctx, q)
	if err != nil {
		d.fail(w, http.StatusUnprocessableEntity, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set(versionHeader, d.version)
	_ = stream(w, list)
}

// listTime is how long the loops may take to list their connections.
const listTime = 10 * time.Second

// streamed is after how many connections whoever asks has responseTime again.
const streamed = 256

// stream writes a list as conns.List marshals, without having all of its text in memory.
func stream(w http.ResponseWriter, list conns.List) error {
	control := http.NewResponseController(w)
	to := bufio.NewWriterSize(w, 32<<10)
	fmt.Fprintf(to, `{"matched":%d,"limit":%d,"connections":[`, list.Matched, list.Limit)
	for i := range list.Connections {
		if i%streamed == 0 {
			_ = control.SetWriteDeadline(time.Now().Add(responseTime))
		}
		if i > 0 {
			to.WriteByte(',')
		}
		text, err := json.Marshal(&list.Connections[i])
		if err != nil {
			return err
		}
		if _, err := to.Write(text); err != nil {
			return err
		}
	}
	_, _ = to.WriteString("]}\n")
	return to.Flush()
}

// Connections lists connections.
func (c *Client) Connections(ctx context.Context, q conns.Query) (conns.List, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, statusTime+q.Over, fmt.Errorf("there is no answer within %v", statusTime+q.Over))
	defer cancel()
	var list conns.List
	what := "conns"
	if v := values(q); len(v) > 0 {
		what += "?" + v.Encode()
	}
	err := c.ask(ctx, http.MethodGet, what, nil, &list)
	return list, err
}

// Kill closes connections.
func (c *Client) Kill(ctx context.Context, r KillRequest) (Killed, error) {
	var done Killed
	err := c.ask(ctx, http.MethodPost, "kill", r, &done)
	return done, err
}
