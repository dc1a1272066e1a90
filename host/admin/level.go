package admin

import (
	"context"
	"net/http"
)

// LevelRequest is what POST /v1/level takes.
type LevelRequest struct {
	// File is as in ReloadRequest.
	File string `json:"file"`
	// Level is "debug", "info", "warn" or "error".
	Level string `json:"level"`
}

func (r *LevelRequest) words() []any { return []any{"level", clip(r.Level)} }

// LevelSet is what POST /v1/level answers.
type LevelSet struct {
	// Level is in force until the next reload, and Before was.
	Level  string `json:"level"`
	Before string `json:"before"`
}

// SetLevel sets the level of the daemon's log until the next reload.
func (c *Client) SetLevel(ctx context.Context, r LevelRequest) (LevelSet, error) {
	var done LevelSet
	err := c.ask(ctx, http.MethodPost, "level", r, &done)
	return done, err
}
