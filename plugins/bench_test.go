package plugins

import (
	"testing"

	"bulkhead/abi"
	w "bulkhead/internal/wasmtest"
)

// BenchmarkDataSend is one csa_data with one send in it, on a connection
// without a socket.
func BenchmarkDataSend(b *testing.B) {
	n := newTenant(b, 0)
	i := n.start(w.Echo(), listener())
	f := &sink{}
	h := i.admit(f)
	b.ReportAllocs()
	for b.Loop() {
		if i.data(h, f, 64) != 64 {
			b.Fatal("it did not echo")
		}
	}
}

// sink takes everything.
type sink struct{ fake }

func (s *sink) Send(p []byte) (int, abi.Code) { return len(p), 0 }

func TestDataSendAllocatesNothing(t *testing.T) {
	n := newTenant(t, 0)
	i := n.start(w.Echo(), listener())
	f := &sink{}
	h := i.admit(f)
	if a := testing.AllocsPerRun(1000, func() { i.data(h, f, 64) }); a != 0 {
		t.Errorf("a csa_data with a send allocates %v times", a)
	}
}

// BenchmarkInstantiate makes and closes an instance of one page.
func BenchmarkInstantiate(b *testing.B) {
	n := newTenant(b, 0)
	m := n.load(w.Echo().Bytes(), Events)
	l := listener()
	b.ReportAllocs()
	for b.Loop() {
		i, err := m.Instantiate(l)
		if err != nil {
			b.Fatal(err)
		}
		i.Close()
	}
}
