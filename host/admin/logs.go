package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"bulkhead/host/admin/guard"
	"bulkhead/host/recent"
)

// Errors is what GET /v1/errors answers: the latest first.
type Errors struct {
	Errors []recent.Error `json:"errors"`
}

const (
	// statusErrors are in a status.
	statusErrors = 10
	// defaultErrors are listed where the query has no limit, and mostErrors at most.
	defaultErrors = 100
	mostErrors    = 1000
	// mostFollowers follow the log at a time: each takes a place of mostCallers.
	mostFollowers = 4
)

// The names in the query of GET /v1/logs and /v1/errors, beside inTenant and inLimit.
const (
	inHost   = "host"
	inLast   = "last"
	inFollow = "follow"
)

// asked reads a query of which each name is there once, by functions for the names.
func asked(r *http.Request, names map[string]func(value string) error) error {
	v, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return fmt.Errorf("the query is not understood: %w", err)
	}
	for name, all := range v {
		read := names[name]
		if read == nil {
			return fmt.Errorf("%s=%s is not understood", clip(name), clip(all[0]))
		}
		if len(all) > 1 {
			return fmt.Errorf("%s is there %d times", name, len(all))
		}
		if err := read(all[0]); err != nil {
			return fmt.Errorf("%s=%s is not understood; %w", name, clip(all[0]), err)
		}
	}
	return nil
}

// number reads a number of a query, from 1 to most.
func number(n *int, most int) func(string) error {
	return func(value string) (err error) {
		if *n, err = strconv.Atoi(value); err != nil || *n < 1 || *n > most {
			return fmt.Errorf("it is a number from 1 to %d", most)
		}
		return nil
	}
}

// flag reads a flag of a query.
func flag(is *bool) func(string) error {
	return func(value string) (err error) {
		if *is, err = strconv.ParseBool(value); err != nil {
			return errors.New("it is true or false")
		}
		return nil
	}
}

// word reads a word of a query.
func word(s *string) func(string) error {
	return func(value string) error { *s = value; return nil }
}

// errors answers with the last errors.
func (d *Door) errors(w http.ResponseWriter, r *http.Request) {
	daemon := d.inside(w)
	if daemon == nil {
		return
	}
	tenant, limit := "", defaultErrors
	if err := asked(r, map[string]func(string) error{inTenant: word(&tenant), inLimit: number(&limit, mostErrors)}); err != nil {
		d.fail(w, http.StatusBadRequest, err)
		return
	}
	d.answer(w, http.StatusOK, Errors{daemon.Recent().Errors(tenant, limit)})
}

// logs answers with lines of the log, each as it is, and goes on with those that come if asked to.
func (d *Door) logs(w http.ResponseWriter, r *http.Request) {
	daemon := d.inside(w)
	if daemon == nil {
		return
	}
	q := recent.Query{Last: recent.MostLines}
	err := asked(r, map[string]func(string) error{
		inTenant: word(&q.Tenant), inHost: flag(&q.Host), inFollow: flag(&q.Follow),
		inLast: func(value string) (err error) {
			if q.Last, err = strconv.Atoi(value); err != nil || q.Last < 0 {
				return errors.New("it is a number from 0 on")
			}
			return nil
		},
	})
	if err != nil {
		d.fail(w, http.StatusBadRequest, err)
		return
	}
	if q.Follow {
		if d.followers.Add(1) > mostFollowers {
			d.followers.Add(-1)
			d.fail(w, http.StatusServiceUnavailable, fmt.Errorf("%d follow the log already; end one of them", mostFollowers))
			return
		}
		defer d.followers.Add(-1)
	}
	if err := daemon.Recent().Check(q); err != nil {
		d.fail(w, http.StatusUnprocessableEntity, err)
		return
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // it takes as long as it takes
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set(versionHeader, d.version)
	w.WriteHeader(http.StatusOK)
	_ = control.Flush()
	_ = daemon.Recent().Read(r.Context(), q, func(lines []byte, lost int64) error {
		_ = control.SetWriteDeadline(time.Now().Add(responseTime))
		if lost > 0 {
			if _, err := w.Write(lostLine(lost)); err != nil {
				return err
			}
		}
		if _, err := w.Write(lines); err != nil {
			return err
		}
		return control.Flush()
	})
}

// lostLine says how many lines somebody has not got who follows.
func lostLine(n int64) []byte {
	text, _ := json.Marshal(struct {
		Time  time.Time `json:"time"`
		Level string    `json:"level"`
		Msg   string    `json:"msg"`
		Lost  int64     `json:"lines_lost"`
	}{time.Now(), "WARN", "lines came faster than they were read here, and are lost to this reader", n})
	return append(text, '\n')
}

// Errors lists the last errors of a tenant, or of all (""): n at most, the latest first.
func (c *Client) Errors(ctx context.Context, tenant string, n int) (all []recent.Error, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, statusTime, fmt.Errorf("there is no answer within %v", statusTime))
	defer cancel()
	v := url.Values{inLimit: {strconv.Itoa(n)}}
	if tenant != "" {
		v.Set(inTenant, tenant)
	}
	var answer Errors
	err = c.ask(ctx, http.MethodGet, "errors?"+v.Encode(), nil, &answer)
	return answer.Errors, err
}

// mostLine is the longest line of a log that is read, in bytes.
const mostLine = 1 << 20

// Logs gives the lines of a query to a function, each as JSON without its line feed, until the
// query is answered, the function fails, or ctx is done. The function may not keep a line. The
// error is nil where the answer has come to its end, as that of one who follows does when the
// daemon ends.
func (c *Client) Logs(ctx context.Context, q recent.Query, give func(line []byte) error) error {
	v := url.Values{inLast: {strconv.Itoa(q.Last)}}
	if q.Tenant != "" {
		v.Set(inTenant, q.Tenant)
	}
	if q.Host {
		v.Set(inHost, "true")
	}
	if q.Follow {
		v.Set(inFollow, "true")
	}
	r, err := http.NewRequestWithContext(reads(ctx), http.MethodGet, "http://"+socketHost+"/v1/logs?"+v.Encode(), nil)
	if err != nil {
		return err
	}
	c.sign(r)
	got, err := c.http.Do(r)
	if err != nil {
		return c.unreachable(ctx, err)
	}
	defer got.Body.Close()
	if got.StatusCode != http.StatusOK {
		return c.problem(got)
	}
	from := bufio.NewScanner(got.Body)
	from.Buffer(nil, mostLine)
	for from.Scan() {
		if err := give(bytes.TrimSpace(from.Bytes())); err != nil {
			return err
		}
	}
	if err := from.Err(); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return c.unreachable(ctx, err)
	}
	return nil
}

// problem is the error that an answer has.
func (c *Client) problem(got *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(got.Body, guard.MostBody))
	var p Problem
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil {
		return fmt.Errorf("the daemon's answer is not understood (%w)%s", err, c.skew(got))
	}
	if got.StatusCode == http.StatusNotFound || got.StatusCode == http.StatusBadRequest {
		return fmt.Errorf("%w%s", p.Err(), c.skew(got))
	}
	return p.Err()
}
