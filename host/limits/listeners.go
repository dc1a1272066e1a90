package limits

import "bulkhead/host/stats"

type ofListener = Figure[stats.Listener]

// Listeners are the limits of a listener, or of a route, that are no cause of a connection's end.
// Nobody changes it.
var Listeners = []Limit[stats.Listener]{
	{
		Key: "descriptors", Keyless: true, Line: "descriptors or memory of the system",
		Over: []ofListener{{"bulkhead_listener_accept_errors_total", "Accepts that failed for want of descriptors or memory.", func(l *stats.Listener) int64 { return l.AcceptErrors }}},
		What: "accepts that failed for want of descriptors or memory",
		Mend: "Raise the system's limit of descriptors (LimitNOFILE of the unit), or lower connections of [host].",
	},
}
