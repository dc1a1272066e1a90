package billing

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"bulkhead/host/stats"
)

// Record is what one tenant has used in one interval: a line of JSON. Its names stay as they are.
type Record struct {
	// Boot is the run of the daemon that has written it, and Seq counts the records of that run
	// from 1 on. A record that comes twice has the same ones.
	Boot string `json:"boot"`
	Seq  int64  `json:"seq"`
	// Tenant has used it after From, and until To.
	Tenant string    `json:"tenant"`
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	// What follows is stats.Used.
	Fuel         int64   `json:"fuel"`
	CPU          Seconds `json:"cpu_seconds"`
	In           int64   `json:"in"`
	Out          int64   `json:"out"`
	UpstreamIn   int64   `json:"upstream_in"`
	UpstreamOut  int64   `json:"upstream_out"`
	Connections  int64   `json:"connections"`
	Upstreams    int64   `json:"upstreams"`
	DatagramsIn  int64   `json:"datagrams_in"`
	DatagramsOut int64   `json:"datagrams_out"`
	// Open are the connections that were open at To, those that handlers have dialled left out.
	Open int64 `json:"open"`
}

// Seconds is a time that is written as a decimal number of seconds, exactly.
type Seconds time.Duration

// String is the number. It is not below zero.
func (s Seconds) String() string {
	if s < 0 {
		return "0"
	}
	whole, rest := int64(s)/1e9, int64(s)%1e9
	if rest == 0 {
		return strconv.FormatInt(whole, 10)
	}
	text := fmt.Sprintf("%d.%09d", whole, rest)
	for text[len(text)-1] == '0' {
		text = text[:len(text)-1]
	}
	return text
}

// MarshalJSON writes the number.
func (s Seconds) MarshalJSON() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalJSON reads it.
func (s *Seconds) UnmarshalJSON(text []byte) error {
	var f float64
	if err := json.Unmarshal(text, &f); err != nil {
		return err
	}
	if f < 0 || f > math.MaxInt64/1e9-1 {
		return errors.New("it is no time that can be used")
	}
	*s = Seconds(math.Round(f * 1e9))
	return nil
}

// recordOf is a record without its numbers and times.
func recordOf(tenant string, u *stats.Used, open int64) Record {
	return Record{
		Tenant: tenant, Fuel: u.Fuel, CPU: Seconds(u.CPU), In: u.In, Out: u.Out, UpstreamIn: u.UpstreamIn, UpstreamOut: u.UpstreamOut,
		Connections: u.Connections, Upstreams: u.Upstreams, DatagramsIn: u.DatagramsIn, DatagramsOut: u.DatagramsOut, Open: open,
	}
}

// Used is what it says was used.
func (r *Record) Used() stats.Used {
	return stats.Used{
		Fuel: r.Fuel, CPU: time.Duration(r.CPU), In: r.In, Out: r.Out, UpstreamIn: r.UpstreamIn, UpstreamOut: r.UpstreamOut,
		Connections: r.Connections, Upstreams: r.Upstreams, DatagramsIn: r.DatagramsIn, DatagramsOut: r.DatagramsOut,
	}
}

// parse reads a line, without its end.
func parse(line []byte) (r Record, err error) {
	if err := json.Unmarshal(line, &r); err != nil {
		return r, fmt.Errorf("it is no record: %w", err)
	}
	switch {
	case r.Boot == "" || r.Seq < 1:
		return r, errors.New("it has no boot, or no seq from 1 on")
	case r.Tenant == "" || r.From.IsZero() || r.To.IsZero():
		return r, errors.New("it does not say of which tenant it is, from when and until when")
	case min(r.Fuel, r.In, r.Out, r.UpstreamIn, r.UpstreamOut, r.Connections, r.Upstreams, r.DatagramsIn, r.DatagramsOut, r.Open) < 0:
		return r, errors.New("it has an amount below zero")
	}
	return r, nil
}
