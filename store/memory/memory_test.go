package memory

import (
	"testing"

	"bulkhead/store"
	"bulkhead/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T, o storetest.Options) store.Store {
		other := &storetest.Budget{}
		s := New(Options{Now: o.Clock.Now, TTL: o.TTL, Budgets: []store.Budget{other, o.Budget}})
		t.Cleanup(func() {
			if n, _ := s.Size(); n != o.Budget.Used() || n != other.Used() {
				t.Errorf("%d bytes, of which budgets have %d and %d", n, o.Budget.Used(), other.Used())
			}
			s.Close()
			if o.Budget.Used() != 0 || other.Used() != 0 {
				t.Errorf("budgets have %d and %d bytes when it is closed", o.Budget.Used(), other.Used())
			}
			if got := storetest.Get(s, "a"); got != "UNREACHABLE" {
				t.Errorf("when it is closed, it answers %s", got)
			}
		})
		return s
	})
}
