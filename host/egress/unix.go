package egress

import (
	"context"
	"net"
	"path/filepath"
)

// dialUnix connects to the socket that the path of t leads to.
func dialUnix(ctx context.Context, p *Policy, t Target) (*net.UnixConn, error) {
	if err := ctx.Err(); err != nil {
		return nil, fail(Timeout, t, "%w", err)
	}
	socket, release, err := p.Find(t)
	if err != nil {
		return nil, err
	}
	defer release()
	var nd net.Dialer
	conn, err := nd.DialUnix(ctx, "unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		err = cause(err)
		return nil, fail(KindOf(err), t, "%w", err)
	}
	return conn, nil
}

// pinned is a socket that a path led to.
type pinned struct {
	path    string // its own path, without links
	dial    string // what to dial: leads there still when the path does not
	release func() // when it has been dialled
}

// pinPath follows the links of a path once. The result can still be exchanged
// by whoever may write to its folders.
func pinPath(path string) (pinned, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return pinned{}, err
	}
	return pinned{path: real, dial: real, release: func() {}}, nil
}
