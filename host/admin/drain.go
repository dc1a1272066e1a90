package admin

import "context"

// DrainRequest is what POST /v1/drain and /v1/undrain take.
type DrainRequest struct {
	// File is as in ReloadRequest.
	File string `json:"file"`
	// Listener is which one; "": all of them.
	Listener string `json:"listener,omitempty"`
}

func (r *DrainRequest) words() []any { return []any{"listener", clip(r.Listener)} }

// DrainSet is what POST /v1/drain and /v1/undrain answer.
type DrainSet struct {
	// Changed are the listeners that take no new connections any more, or take them again, and did
	// not before.
	Changed []string `json:"changed"`
}

func (d DrainSet) counts() []any { return []any{"changed", len(d.Changed)} }

// SetDrain has listeners of the daemon take no new connections, or take them again.
func (c *Client) SetDrain(ctx context.Context, r DrainRequest, drain bool) (DrainSet, error) {
	var done DrainSet
	what := "undrain"
	if drain {
		what = "drain"
	}
	err := c.ask(ctx, "POST", what, r, &done)
	return done, err
}
