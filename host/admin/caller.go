package admin

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"bulkhead/host/admin/guard"
)

// caller is who asks for something.
type caller struct {
	via string // the socket's name, or the address, by which he has come in
	// peer is his address over TCP.
	peer string
	// uid and pid are his over a Unix socket, when he connected; known says whether the system has
	// told. pid is 0 where it does not tell that.
	uid, pid int
	known    bool
	token    bool // he has sent the right token
	agent    string
}

// callerKey is where a request's context has who asks.
type callerKey struct{}

// withCaller puts who is at the other end of a connection into the context of its requests.
func withCaller(ctx context.Context, via string, c net.Conn) context.Context {
	if p, ok := c.(*guard.Placed); ok {
		c = p.Conn
	}
	who := caller{via: via}
	u, ok := c.(*net.UnixConn)
	if !ok {
		who.peer = c.RemoteAddr().String()
		return context.WithValue(ctx, callerKey{}, who)
	}
	if raw, err := u.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			var err error
			who.pid, who.uid, err = credentials(int(fd))
			who.known = err == nil
		})
	}
	return context.WithValue(ctx, callerKey{}, who)
}

// callerOf is who has sent a request.
func callerOf(r *http.Request) caller {
	who, _ := r.Context().Value(callerKey{}).(caller)
	who.token, who.agent = guard.HasToken(r.Context()), clip(r.UserAgent())
	return who
}

// String says who he is.
func (c caller) String() string {
	switch {
	case c.peer != "" && c.token:
		return fmt.Sprintf("who has the token, from %s", c.peer)
	case c.peer != "":
		return fmt.Sprintf("somebody from %s", c.peer)
	case !c.known:
		return "somebody"
	case c.pid == 0:
		return fmt.Sprintf("a process of user %d", c.uid)
	}
	return fmt.Sprintf("process %d of user %d", c.pid, c.uid)
}

// words are what the log has of him.
func (c caller) words() []any {
	words := []any{"by", c.String(), "via", c.via}
	if c.known {
		words = append(words, "uid", c.uid)
	}
	if c.pid > 0 {
		words = append(words, "pid", c.pid)
	}
	if c.peer != "" {
		words = append(words, "peer", c.peer, "token", c.token)
	}
	return append(words, "agent", c.agent)
}
