package examples_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"testing"

	"bulkhead/host"
	"bulkhead/internal/hosttest"
)

// serveC runs a guest of testdata.
func serveC(t *testing.T, guest, more string) *host.Host {
	t.Helper()
	h, _ := serveOne(t, "guest", "testdata/"+guest, more)
	return h
}

// What C++ objects of static storage have become is still there at the next callback. Where
// nothing calls the constructors, wasm-ld has every export do it, and the host mends that.
func TestStaticsStay(t *testing.T) {
	for _, guest := range []string{"statics", "unconstructed", "unconstructed-destructors", "unconstructed-initialize"} {
		for _, more := range []string{"", "snapshot = false", `instance = "loop"`} {
			t.Run(guest+" "+more, func(t *testing.T) {
				h := serveC(t, guest+".wasm", more)
				conn := hosttest.Dial(t, h.Addr("guest"))
				for i := range 4 {
					hosttest.Say(t, conn, "x")
					hosttest.Hear(t, conn, fmt.Sprintf("%d%d\n", i+1, i+1))
				}
			})
		}
	}
}

// A guest that writes through a queue loses nothing to a peer that does not read for a
// while, and its last words come last.
func TestNothingIsLostBehindAFullInbox(t *testing.T) {
	const requests, size = 16_000, 1000 // more than what all buffers hold
	h := serveC(t, "answers.wasm", "")
	conn := hosttest.Dial(t, h.Addr("guest"))
	written := make(chan error, 1)
	go func() {
		_, err := conn.Write(make([]byte, size*requests))
		if err == nil {
			err = conn.CloseWrite()
		}
		written <- err
	}()
	counts := func() map[string]int64 { return h.Stats().Tenants[0].Counts }
	hosttest.Eventually(t, "something waits in the queue", func() bool { return counts()["waits"] > 0 })
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Error(err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
	var want []byte
	for i := range uint32(requests) {
		want = append(binary.LittleEndian.AppendUint32(want, i), make([]byte, size-4)...)
	}
	if want = append(want, "over"...); !bytes.Equal(got, want) {
		t.Errorf("of %d bytes %d came, or they differ; they end with %q", len(want), len(got), got[max(0, len(got)-20):])
	}
	t.Logf("%v", counts())
}
