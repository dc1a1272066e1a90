package dial

import (
	"context"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"bulkhead/abi"
	"bulkhead/csa"
	"bulkhead/host/egress"
	"bulkhead/host/listen"
	"bulkhead/host/loops"
	"bulkhead/plugins"
	"bulkhead/selector"
)

// site is a server that counts what is taken of it.
type site struct {
	settings csa.Settings
	loops    []*loops.Loop
	policy   *egress.Policy
	asked    chan struct{} // the resolver was, which answers when the lookup is given up
	full     bool

	dials, upstreams, left, retained atomic.Int64
}

func (s *site) ConnectTimeout() time.Duration                       { return time.Minute }
func (s *site) Loops() []*loops.Loop                                { return s.loops }
func (s *site) Budget() csa.Budget                                  { return csa.Unlimited{} }
func (s *site) Policy() *egress.Policy                              { return s.policy }
func (s *site) Resolver() egress.Resolver                           { return s }
func (s *site) DialledSettings() *csa.Settings                      { return &s.settings }
func (s *site) DialledTuning() (o listen.Options)                   { return o }
func (s *site) ClientHandshake(string, time.Duration) csa.Handshake { return csa.Handshake{} }
func (s *site) Stopping() bool                                      { return false }
func (s *site) DialOver()                                           { s.dials.Add(-1) }
func (s *site) ReleaseUpstream()                                    { s.upstreams.Add(-1) }
func (s *site) Leave()                                              { s.left.Add(1) }
func (s *site) Retain(_ *plugins.Instance, n int)                   { s.retained.Add(int64(n)) }
func (s *site) Ended(*csa.CSA, csa.Reason)                          {}
func (s *site) CountLost(csa.Loss, int) int64                       { return 0 }
func (s *site) Noisy(slog.Level, string, ...any)                    {}
func (s *site) Guard(string, *error)                                {}

func (s *site) TakeDial() bool {
	if s.full {
		return false
	}
	s.dials.Add(1)
	s.upstreams.Add(1)
	return true
}

func (s *site) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	s.asked <- struct{}{}
	<-ctx.Done()
	return nil, ctx.Err()
}

// held is what is taken and not given back.
func (s *site) held() [3]int64 {
	return [3]int64{s.dials.Load(), s.upstreams.Load(), s.retained.Load()}
}

func newSite(t *testing.T) *site {
	t.Helper()
	policy, err := egress.Parse([]string{"*.example:80", "192.0.2.1:80"})
	if err != nil {
		t.Fatal(err)
	}
	all, err := loops.New(1, selector.System, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { loops.Stop(all) })
	return &site{loops: all, policy: policy, asked: make(chan struct{}, 1)}
}

// What is not dialled takes nothing, and the handler is told why.
func TestNotDialled(t *testing.T) {
	s := newSite(t)
	d := New(s)
	defer d.Stop()
	for address, want := range map[string]abi.Code{
		"a.example:80":                abi.Invalid,
		"tcp://a.example:80?proxy=v3": abi.Invalid,
		"tcp://a.example:80?":         abi.Invalid,
		"udp://192.0.2.1:80?proxy=v1": abi.Invalid,
		"tcp://a.example:81":          abi.Denied,
		"tcp://192.0.2.2:80?proxy=v2": abi.Denied,
		"tcp://192.0.2.1:80":          abi.Quota,
		"tcp://192.0.2.1:80?proxy=v1": abi.Quota,
	} {
		s.full = true
		s.loops[0].Call(func() {
			if cancel, code := d.Dial(&plugins.Dial{Loop: s.loops[0].Loop, Address: address}); cancel != nil || code != want {
				t.Errorf("%s: %v, want %v", address, code, want)
			}
		})
	}
	if s.held() != [3]int64{} || s.left.Load() != 0 {
		t.Errorf("%v is held, and %d have left", s.held(), s.left.Load())
	}
}

// What is under way is given up by its handler, or by Stop, and gives back all that it has taken,
// once.
func TestGivenUp(t *testing.T) {
	for _, by := range []string{"handler", "stop"} {
		t.Run(by, func(t *testing.T) {
			s := newSite(t)
			d := New(s)
			var cancel func()
			var code abi.Code
			s.loops[0].Call(func() {
				cancel, code = d.Dial(&plugins.Dial{Loop: s.loops[0].Loop, Address: "tcp://a.example:80"})
			})
			if code != abi.OK {
				t.Fatalf("it is not dialled: %v", code)
			}
			<-s.asked
			if want := [3]int64{1, 1, 1}; s.held() != want {
				t.Errorf("%v is held under way, want %v", s.held(), want)
			}
			if by == "handler" {
				s.loops[0].Call(cancel)
			}
			d.Stop()
			s.loops[0].Call(func() {}) // behind what was posted
			if s.held() != [3]int64{} || s.left.Load() != 1 {
				t.Errorf("%v is held, and %d have left", s.held(), s.left.Load())
			}
		})
	}
}

// Each error of a policy has a code of the ABI's.
func TestCodes(t *testing.T) {
	seen := make(map[abi.Code]bool)
	for _, kind := range []egress.Kind{egress.Invalid, egress.Denied, egress.NotFound, egress.Refused, egress.Timeout, egress.Quota, egress.Unreachable} {
		code := codeOf(&egress.Error{Kind: kind})
		if seen[code] {
			t.Errorf("%v is a code of two kinds", code)
		}
		seen[code] = true
	}
}
