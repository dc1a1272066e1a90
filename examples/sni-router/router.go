package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"bulkhead/sdk/go"
)

// hurryUp is how long a client may take for its ClientHello; its timer's token is 1.
const hurryUp = 10 * guest.Second

// The alerts that a client is sent before it is closed (RFC 8446, section 6).
const (
	decodeError      = 50
	internalError    = 80
	unrecognizedName = 112
)

// router is the handler.
type router struct {
	guest.Base
	routes    map[string]route // by name or by "*.suffix"
	otherwise *route           // nil: unknown names are refused
}

// route is where connections go.
type route struct {
	To    string `json:"to"`
	Proxy string `json:"proxy"`
}

// session is one client and the connection to its upstream. Both have it as their
// Value.
type session struct {
	client   *guest.Conn
	upstream *guest.Conn // nil until it is dialled
	to       string      // where that leads
}

// Start reads the config.
func (r *router) Start(config []byte) error {
	guest.SetWindow(maxHello)
	var c struct {
		Routes  map[string]route `json:"routes"`
		Default *route           `json:"default"`
	}
	d := json.NewDecoder(bytes.NewReader(config))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return errors.New("config: " + err.Error())
	}
	if len(c.Routes) == 0 && c.Default == nil {
		return errors.New(`config: there is nowhere to go; add a route: routes = { "www.example.com" = { to = "tcp://10.0.0.1:443" } }`)
	}
	r.routes = make(map[string]route, len(c.Routes))
	for pattern, to := range c.Routes {
		suffix, wild := strings.CutPrefix(pattern, "*.")
		name, ok := cleanName(suffix)
		if !ok {
			return errors.New("config: routes: " + pattern + ` is no host name; write it as "www.example.com" or "*.example.com"`)
		}
		if wild {
			name = "*." + name
		}
		if _, twice := r.routes[name]; twice {
			return errors.New("config: routes: " + name + " is there twice")
		}
		if err := to.check(); err != nil {
			return errors.New("config: routes: " + pattern + ": " + err.Error())
		}
		r.routes[name] = to
	}
	if r.otherwise = c.Default; c.Default != nil {
		if err := c.Default.check(); err != nil {
			return errors.New("config: default: " + err.Error())
		}
	}
	return nil
}

func (t *route) check() error {
	if !strings.HasPrefix(t.To, "tcp://") && !strings.HasPrefix(t.To, "unix://") || strings.Contains(t.To, "?") {
		return errors.New(`to = "` + t.To + `" is no upstream; it is "tcp://host:port" or "unix:///path", as TLS is passed on as it is`)
	}
	if t.Proxy != "" && t.Proxy != "v1" && t.Proxy != "v2" {
		return errors.New(`proxy = "` + t.Proxy + `" is no version; it is "v1" or "v2"`)
	}
	return nil
}

// address is the one for Connect.
func (t *route) address() string {
	if t.Proxy == "" {
		return t.To
	}
	return t.To + "?proxy=" + t.Proxy
}

// find is where a name goes, or nil.
func (r *router) find(name string) *route {
	if to, ok := r.routes[name]; ok {
		return &to
	}
	for rest := name; ; {
		_, suffix, more := strings.Cut(rest, ".")
		if !more {
			return r.otherwise
		}
		if to, ok := r.routes["*."+suffix]; ok {
			return &to
		}
		rest = suffix
	}
}

// Open is a new client, or that the upstream of one is up: then the host relays, and
// the ClientHello, which nobody has consumed, goes first.
func (r *router) Open(c *guest.Conn) error {
	if !c.Dialled() {
		c.Value = &session{client: c}
		return c.SetTimer(1, hurryUp)
	}
	if err := guest.Splice(c.Value.(*session).client, c); err != nil {
		return err
	}
	_ = guest.Count("sni_routed", 1)
	return nil
}

// Data looks at the ClientHello, and leaves all of it.
func (r *router) Data(c *guest.Conn, p []byte) (used int, err error) {
	s := c.Value.(*session)
	if s.upstream != nil {
		return 0, nil
	}
	name, need, err := serverName(p)
	switch {
	case err == errNotTLS:
		return 0, guest.Invalid
	case err != nil:
		s.refuse(decodeError)
	case need > 0:
		return 0, c.Want(need)
	default:
		r.dial(s, name)
	}
	return 0, nil
}

func (r *router) dial(s *session, name string) {
	to := r.find(name)
	if to == nil {
		_ = guest.Count("sni_unknown", 1)
		s.refuse(unrecognizedName)
		return
	}
	s.to = to.To
	up, err := guest.Connect(to.address())
	if err != nil {
		s.failed(err)
		return
	}
	up.Value, s.upstream = s, up
	_ = s.client.StopTimer(1)
	_ = s.client.Pause() // there is nothing to look at any more
}

// failed is the end of a client whose upstream cannot be reached.
func (s *session) failed(why error) {
	_ = guest.Count("sni_failed", 1)
	guest.Log(guest.LogWarn, "no connection to "+s.to+": "+why.Error())
	s.refuse(internalError)
}

// refuse closes the client, with a fatal alert.
func (s *session) refuse(alert byte) {
	_, _ = s.client.Write([]byte{21, 3, 3, 0, 2, 2, alert})
	_ = s.client.Close()
}

// Closed is the end of one of the two before they were spliced, and so of the
// other.
func (r *router) Closed(c *guest.Conn, reason error) {
	s := c.Value.(*session)
	switch {
	case !c.Dialled():
		if s.upstream != nil {
			_ = s.upstream.Abort()
		}
	case reason != nil:
		s.failed(reason)
	default:
		_ = s.client.Close()
	}
}

// Timer is the end of a client's time.
func (r *router) Timer(c *guest.Conn, _ int32) { _ = c.Close() }
