package host_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"bulkhead/csa"
	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/hosttest"
)

// stands is a handler that stops its loop when it is spoken to, until it may go on.
type stands struct {
	hosttest.Echo
	there, goOn chan struct{}
}

func (s *stands) Data(c *csa.CSA, p []byte) int {
	close(s.there)
	<-s.goOn
	return s.Echo.Data(c, p)
}

// A loop that stands still is noticed, and so is that it goes on.
func TestTurn(t *testing.T) {
	cfg := nativeConfig(config.Address{Network: "tcp", Host: "127.0.0.1:0"})
	there, goOn := make(chan struct{}), make(chan struct{})
	h, err := host.New(cfg, host.Options{Native: map[string]host.Native{cfg.Listeners[0].Name: func(*csa.Loop) csa.Handler {
		return &stands{hosttest.Echo{Buffer: make([]byte, 100)}, there, goOn}
	}}})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	select {
	case <-h.Serving():
		t.Error("it serves before Run")
	default:
	}
	ran := make(chan error, 1)
	go func() { ran <- h.Run(context.Background()) }()
	<-h.Serving()
	if err := h.Turn(t.Context()); err != nil {
		t.Fatal(err)
	}
	answer := make(chan error, 1)
	go func() { answer <- exchangeOnce(h.Addr(cfg.Listeners[0].Name)) }()
	<-there
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("patience is over"))
	if err := h.Turn(ctx); err == nil || !strings.Contains(err.Error(), "loops had no turn: patience is over") {
		t.Errorf("with a loop that stands still: %v", err)
	}
	close(goOn)
	if err := h.Turn(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-answer; err != nil {
		t.Error(err)
	}
	h.Close()
	if err := h.Turn(t.Context()); err == nil || !strings.Contains(err.Error(), "stopped") {
		t.Errorf("when it has stopped: %v", err)
	}
	if err := <-ran; err != nil {
		t.Error(err)
	}
}
