package page

import (
	"maps"
	"slices"
)

// Rows are compared by their figures, of which most are as they were, rather than by their text. A
// test goes through all fields.

func (r tenantRow) same(o *tenantRow) bool {
	return r.Name == o.Name && r.Removed == o.Removed && r.Worst == o.Worst && r.Share == o.Share &&
		r.Failed == o.Failed && r.Failures == o.Failures && r.Asleep == o.Asleep &&
		maps.Equal(r.Uses, o.Uses) && maps.Equal(r.Waits, o.Waits)
}

func (r listenerRow) same(o *listenerRow) bool {
	return r.Name == o.Name && r.Tenant == o.Tenant && r.Address == o.Address && r.Removed == o.Removed &&
		r.Active == o.Active && r.Accepted == o.Accepted && r.AcceptRate == o.AcceptRate && r.InRate == o.InRate &&
		r.OutRate == o.OutRate && r.Failed == o.Failed && r.Failures == o.Failures && r.Quarantine == o.Quarantine &&
		maps.Equal(r.Ended, o.Ended) && maps.Equal(r.Lost, o.Lost) && maps.Equal(r.Limits, o.Limits) && maps.Equal(r.Waits, o.Waits)
}

func (r generationRow) same(o *generationRow) bool {
	return r.Listener == o.Listener && r.Tenant == o.Tenant && r.Number == o.Number && r.Retired == o.Retired &&
		r.Connections == o.Connections && r.Most == o.Most && r.Until == o.Until &&
		slices.Equal(r.Changed, o.Changed)
}

func (r connRow) same(o *connRow) bool {
	return r.ID == o.ID && r.Of == o.Of && r.Tenant == o.Tenant && r.Generation == o.Generation &&
		r.Peer == o.Peer && r.Dialled == o.Dialled && r.Age == o.Age && r.Idle == o.Idle &&
		r.InRate == o.InRate && r.OutRate == o.OutRate && r.CPU == o.CPU && r.Unsent == o.Unsent &&
		r.Unconsumed == o.Unconsumed && r.HoldsBack == o.HoldsBack &&
		slices.Equal(r.State, o.State) && slices.Equal(r.Waits, o.Waits)
}
