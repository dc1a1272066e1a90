package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"bulkhead/host/profile"
)

// ProfileRequest is what POST /v1/profile takes.
type ProfileRequest struct {
	// File is as in ReloadRequest.
	File string `json:"file"`
	// Kind is one of profile.Kinds.
	Kind string `json:"kind"`
	// Seconds is for how long, where the kind is taken over a time; 0, or left out:
	// profile.DefaultTime.
	Seconds float64 `json:"seconds,omitempty"`
}

func (r *ProfileRequest) words() []any { return []any{"kind", clip(r.Kind), "seconds", r.Seconds} }

// Over is Seconds. What profile.Check refuses is some time that it refuses.
func (r *ProfileRequest) Over() time.Duration {
	if !(r.Seconds >= 0 && r.Seconds <= 2*profile.MostTime.Seconds()) {
		return 2 * profile.MostTime
	}
	return time.Duration(r.Seconds * float64(time.Second))
}

// ProfileTaken is a profile.
type ProfileTaken struct {
	Data []byte
	// Took is for how long it was taken.
	Took time.Duration
}

func (p ProfileTaken) counts() []any { return []any{"bytes", len(p.Data)} }

// tookHeader has for how many seconds a profile was taken.
const tookHeader = "Bulkhead-Profile-Seconds"

// profile answers with a profile, as the tools read it.
func (d *Door) profile(w http.ResponseWriter, r *http.Request) {
	daemon := d.inside(w)
	if daemon == nil {
		return
	}
	var request ProfileRequest
	if !d.read(w, r, &request) {
		return
	}
	if err := profile.Check(request.Kind, request.Over()); err != nil {
		d.fail(w, http.StatusUnprocessableEntity, err)
		return
	}
	over := d.audited("profile", callerOf(r), request.words())
	taken, err := daemon.Profile(r.Context(), request)
	over(taken, err)
	if err != nil {
		status := http.StatusUnprocessableEntity
		if errors.Is(err, profile.ErrBusy) {
			status = http.StatusConflict
		}
		d.fail(w, status, err)
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(3 * responseTime))
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(taken.Data)))
	w.Header().Set(tookHeader, strconv.FormatFloat(taken.Took.Seconds(), 'f', 3, 64))
	w.Header().Set(versionHeader, d.version)
	_, _ = w.Write(taken.Data)
}

// Profile takes a profile of the daemon, which goes on meanwhile.
func (c *Client) Profile(ctx context.Context, p ProfileRequest) (taken ProfileTaken, err error) {
	text, err := json.Marshal(p)
	if err != nil {
		return taken, err
	}
	most := statusTime + profile.MostTime
	ctx, cancel := context.WithTimeoutCause(ctx, most, fmt.Errorf("there is no answer within %v", most))
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+socketHost+"/v1/profile", bytes.NewReader(text))
	if err != nil {
		return taken, err
	}
	r.Header.Set("Content-Type", "application/json")
	c.sign(r)
	got, err := c.http.Do(r)
	if err != nil {
		return taken, c.unreachable(ctx, err)
	}
	defer got.Body.Close()
	if got.StatusCode != http.StatusOK {
		return taken, c.problem(got)
	}
	if taken.Data, err = io.ReadAll(io.LimitReader(got.Body, mostAnswer)); err != nil {
		return taken, c.unreachable(ctx, err)
	}
	seconds, err := strconv.ParseFloat(got.Header.Get(tookHeader), 64)
	taken.Took = time.Duration(seconds * float64(time.Second))
	return taken, err
}
