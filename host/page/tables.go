package page

// use is how much of a limit is in use. 0 as the limit: it has no bound of its own.
type use [2]float64

// share is the part of the limit that is in use.
func (u use) share() float64 {
	if u[1] <= 0 {
		return 0
	}
	return u[0] / u[1]
}

// tenantRow is a tenant beside its limits.
type tenantRow struct {
	Name    string `json:"name"`
	Removed bool   `json:"removed,omitempty"`
	// Uses has what is used and the limit, by key. cpu is in cores, bandwidth in bytes a second of
	// the direction that has more, accept_rate in connections a second.
	Uses map[string]use `json:"uses"`
	// Worst is the key of which the greatest part is in use, and Share that part.
	Worst string  `json:"worst,omitempty"`
	Share float64 `json:"share"`
	// Waits is how often it had to wait or was refused in the time of the frame, by key.
	Waits map[string]int64 `json:"waits,omitempty"`
	// Failed is how many of its handlers have failed in that time, Failures since the start.
	Failed   int64 `json:"failed"`
	Failures int64 `json:"failures"`
	Asleep   int64 `json:"asleep"`
}

// listenerRow is a listener, or a route.
type listenerRow struct {
	Name     string `json:"name"`
	Tenant   string `json:"tenant"`
	Address  string `json:"address,omitempty"`
	Removed  bool   `json:"removed,omitempty"`
	Active   int64  `json:"active"`
	Accepted int64  `json:"accepted"`
	// Rates are of a second.
	AcceptRate float64 `json:"accept_rate"`
	InRate     float64 `json:"in_rate"`
	OutRate    float64 `json:"out_rate"`
	// Ended has how often connections have ended since the start, by cause.
	Ended map[string]int64 `json:"ended,omitempty"`
	Lost  map[string]int64 `json:"lost,omitempty"`
	// Limits has both, by the key of the limit.
	Limits map[string]int64 `json:"limits,omitempty"`
	// Waits is a tenant's, of the listener's own limits.
	Waits  map[string]int64 `json:"waits,omitempty"`
	Failed int64            `json:"failed"`
	// Failures are handlers that trapped, were stopped or did not start, since the start.
	Failures   int64  `json:"failures"`
	Quarantine string `json:"quarantine,omitempty"`
}

// generationRow is one of a listener that has a retired one.
type generationRow struct {
	Listener    string   `json:"listener"`
	Tenant      string   `json:"tenant"`
	Number      int64    `json:"number"`
	Retired     bool     `json:"retired"`
	Connections int64    `json:"connections"`
	Most        int64    `json:"most"` // since somebody watches
	Until       string   `json:"until,omitempty"`
	Changed     []string `json:"changed,omitempty"`
}

// connRow is a connection.
type connRow struct {
	ID         uint64   `json:"id"`
	Of         string   `json:"of"` // listener, or LISTENER/ROUTE
	Tenant     string   `json:"tenant"`
	Generation int64    `json:"generation"`
	Peer       string   `json:"peer"`
	Dialled    bool     `json:"dialled,omitempty"`
	Age        int64    `json:"age"`
	Idle       int64    `json:"idle"`
	InRate     float64  `json:"in_rate"`
	OutRate    float64  `json:"out_rate"`
	CPU        float64  `json:"cpu"` // cores
	Unsent     int      `json:"unsent"`
	Unconsumed int      `json:"unconsumed"`
	State      []string `json:"state"`
	Waits      []string `json:"waits,omitempty"`
	// HoldsBack says whom, in words, where it does.
	HoldsBack string `json:"holds_back,omitempty"`
}

// hostRow is the host.
type hostRow struct {
	Version    string         `json:"version"`
	File       string         `json:"file"`
	PID        int            `json:"pid"`
	Since      string         `json:"since"`
	InForce    string         `json:"in_force"`
	Generation int64          `json:"generation"`
	Draining   bool           `json:"draining,omitempty"`
	Uses       map[string]use `json:"uses"`
	// Waits is a tenant's, of the host's limits.
	Waits       map[string]int64 `json:"waits,omitempty"`
	CPU         float64          `json:"cpu"` // of all tenants, in cores
	Lag         float64          `json:"lag_seconds"`
	AcceptRate  float64          `json:"accept_rate"`
	InRate      float64          `json:"in_rate"`
	OutRate     float64          `json:"out_rate"`
	LastReload  *Reload          `json:"last_reload,omitempty"`
	Tenants     int              `json:"tenants"`
	Listeners   int              `json:"listeners"`
	Generations int              `json:"retired_generations"`
}
