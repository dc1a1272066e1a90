package dial

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"bulkhead/abi"
	"bulkhead/csa"
	"bulkhead/host/egress"
	"bulkhead/host/listen"
	"bulkhead/host/loops"
	"bulkhead/host/stats"
	"bulkhead/internal/awaittest"
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
	resolved []netip.Addr // what the resolver answers at once

	// In the nth call of the method with this name there is a panic.
	method string
	nth    int
	calls  atomic.Int64

	dials, upstreams, left, retained atomic.Int64

	outcomes [stats.DialOutcomes]atomic.Int64
}

// counted checks how many dials have had which outcome: no others than these.
func (s *site) counted(t *testing.T, want map[stats.DialOutcome]int64) {
	t.Helper()
	for o := range stats.DialOutcomes {
		if n := s.outcomes[o].Load(); n != want[o] {
			t.Errorf("%d dials are counted as %v, want %d", n, o, want[o])
		}
	}
}

func (s *site) Loops() []*loops.Loop                                { return s.loops }
func (s *site) Budget() csa.Budget                                  { return csa.Unlimited{} }
func (s *site) Resolver() egress.Resolver                           { return s }
func (s *site) Redirect() func(egress.Target) (csa.Address, error)  { return nil }
func (s *site) ClientHandshake(string, time.Duration) csa.Handshake { return csa.Handshake{} }
func (s *site) Stopping() bool                                      { return false }
func (s *site) DialOver()                                           { s.dials.Add(-1) }
func (s *site) ReleaseUpstream()                                    { s.upstreams.Add(-1) }
func (s *site) Leave()                                              { s.left.Add(1) }
func (s *site) Retain(_ *plugins.Instance, n int)                   { s.retained.Add(int64(n)) }
func (s *site) Ended(*csa.CSA, csa.Reason)                          {}
func (s *site) CountLost(csa.Loss, int) int64                       { return 0 }
func (s *site) CountDial(o stats.DialOutcome)                       { s.outcomes[o].Add(1) }
func (s *site) LogLimited(slog.Level, string, ...any)               {}
func (s *site) Guard(string, *error)                                {}

// called panics if it is to.
func (s *site) called(method string) {
	if s.method == method && s.calls.Add(1) == int64(s.nth) {
		panic("in " + method)
	}
}

func (s *site) ConnectTimeout() time.Duration     { s.called("ConnectTimeout"); return time.Minute }
func (s *site) Policy() *egress.Policy            { s.called("Policy"); return s.policy }
func (s *site) DialledSettings() *csa.Settings    { s.called("DialledSettings"); return &s.settings }
func (s *site) DialledTuning() (o listen.Options) { s.called("DialledTuning"); return o }

func (s *site) TakeDial() bool {
	if s.full {
		return false
	}
	s.dials.Add(1)
	s.upstreams.Add(1)
	return true
}

func (s *site) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	if s.resolved != nil {
		return s.resolved, nil
	}
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
	s.counted(t, map[stats.DialOutcome]int64{stats.DialInvalid: 4, stats.DialDenied: 2, stats.DialQuota: 2})
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
			s.counted(t, map[stats.DialOutcome]int64{stats.DialGivenUp: 1})
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

// Each code that a dial can end with has an outcome of its own, and each outcome a name.
func TestOutcomes(t *testing.T) {
	codes, names := make(map[stats.DialOutcome]abi.Code), make(map[string]bool)
	for _, code := range []abi.Code{abi.OK, abi.Invalid, abi.Denied, abi.NotFound, abi.Refused, abi.Timeout, abi.Quota, abi.Unreachable, abi.Reset} {
		o := outcomeOf(code)
		if other, seen := codes[o]; seen {
			t.Errorf("%v is the outcome of %v and of %v", o, code, other)
		}
		codes[o] = code
	}
	for o := range stats.DialOutcomes {
		if o.String() == "" || names[o.String()] {
			t.Errorf("the outcome %d has the name %q", uint8(o), o)
		}
		names[o.String()] = true
	}
}

// A panic while a connection is on its way, wherever that is, ends the attempt: all that it has
// taken is given back, its sockets are closed, and the handler is told, if it was told that one is
// dialled.
func TestFaults(t *testing.T) {
	for what, at := range map[string]struct {
		method  string
		nth     int
		address string
		dialled bool
	}{
		"asking where it is":      {"Policy", 2, "tcp://127.0.0.1:", false},
		"beginning":               {"ConnectTimeout", 1, "tcp://127.0.0.1:", false},
		"beginning with a name":   {"ConnectTimeout", 1, "tcp://a.example:", false},
		"connecting after a name": {"ConnectTimeout", 2, "tcp://a.example:", true},
		"making its socket":       {"DialledTuning", 1, "tcp://127.0.0.1:", true},
		"making it a connection":  {"DialledSettings", 1, "tcp://127.0.0.1:", true},
		"the same over UDP":       {"DialledSettings", 1, "udp://127.0.0.1:", true},
		"the same after a name":   {"DialledSettings", 1, "tcp://a.example:", true},
	} {
		t.Run(what, func(t *testing.T) {
			s := newSite(t)
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			port := strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
			if s.policy, err = egress.Parse([]string{"127.0.0.1:" + port, "udp://127.0.0.1:" + port, "*.example:" + port}); err != nil {
				t.Fatal(err)
			}
			s.resolved = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
			s.method, s.nth = at.method, at.nth
			l := s.loops[0]
			var faults, failed atomic.Int64
			l.Call(func() {
				l.OnFault(func(f *csa.Fault) bool { faults.Add(1); return f.Value == "in "+at.method })
			})
			d := New(s)
			dialled := make(chan bool, 1)
			l.Post(func() {
				defer func() { dialled <- false }()
				_, code := d.Dial(&plugins.Dial{Loop: l.Loop, Address: at.address + port, Handler: csa.Base{}, Failed: func(r csa.Reason) {
					failed.Add(1)
					if r.Cause != csa.HostBug {
						t.Errorf("it failed for %v", r)
					}
				}})
				if code != abi.OK {
					t.Errorf("it is not dialled: %v", code)
				}
				dialled <- true
			})
			if got := <-dialled; got != at.dialled {
				t.Errorf("it is dialled: %v, want %v", got, at.dialled)
			}
			awaittest.Until(t, "it is over", func() bool { return faults.Load() == 1 && s.left.Load() == 1 })
			d.Stop()
			l.Call(func() {
				if at.dialled != (failed.Load() == 1) {
					t.Errorf("the handler was told %d times", failed.Load())
				}
			})
			if s.held() != [3]int64{} || s.left.Load() != 1 || l.Connections.Load() != 0 {
				t.Errorf("%v is held, %d have left, and the loop has %d connections", s.held(), s.left.Load(), l.Connections.Load())
			}
			outcomes := int64(0)
			for o := range s.outcomes {
				outcomes += s.outcomes[o].Load()
			}
			if outcomes != 1 {
				t.Errorf("it has %d outcomes", outcomes)
			}
		})
	}
}
