package admin

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"bulkhead/host/profile"
	"bulkhead/internal/awaittest"
)

// A profile is given as the tools read it, one at a time, and the log says who has asked for it.
func TestProfile(t *testing.T) {
	state := t.TempDir()
	d, log := open(t, state)
	d.Serve(fake{})
	c := NewClient(state, "one")
	p, err := c.Profile(t.Context(), ProfileRequest{Kind: profile.CPU, Seconds: 0.05})
	if err != nil || !bytes.HasPrefix(p.Data, []byte("\x1f\x8b")) || p.Took <= 0 {
		t.Errorf("%d bytes of %v, %v", len(p.Data), p.Took, err)
	}
	if said := log.String(); !strings.Contains(said, "what=profile asked.kind=cpu asked.seconds=0.05 by=") || !strings.Contains(said, "result=done") {
		t.Errorf("the log says %q", said)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		for {
			_, err := c.Profile(ctx, ProfileRequest{Kind: profile.Trace, Seconds: 60})
			// Otherwise one of those below was quicker.
			if err == nil || err.Error() != profile.ErrBusy.Error() {
				ended <- err
				return
			}
		}
	}()
	awaittest.Until(t, "one is taken", func() bool {
		_, err := c.Profile(t.Context(), ProfileRequest{Kind: profile.Goroutine})
		return err != nil && err.Error() == profile.ErrBusy.Error()
	})
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ends with %v", err)
	}
	awaittest.Until(t, "another one is taken", func() bool {
		_, err := c.Profile(t.Context(), ProfileRequest{Kind: profile.Heap})
		return err == nil
	})
	for _, wrong := range []ProfileRequest{{Kind: "mutex"}, {Kind: profile.CPU, Seconds: 61}, {Kind: profile.CPU, Seconds: -1}, {Kind: profile.CPU, Seconds: 1e300}, {Kind: profile.Heap, Seconds: 1}} {
		if _, err := c.Profile(t.Context(), wrong); err == nil {
			t.Errorf("%+v is taken", wrong)
		}
	}
	if err := c.ask(t.Context(), http.MethodGet, "profile", nil, nil); err == nil {
		t.Error("a GET takes one")
	}
}
