package websocket

import (
	"errors"
	"net/url"
	"strings"
)

// Origins are the pages that may connect. The zero value: those from the host that they connect to,
// by the request's Host.
type Origins struct {
	given bool
	any   bool
	exact map[string]bool
	under []suffix // "https://*.example.com"
}

type suffix struct{ scheme, host string } // the host begins with a dot

// ParseOrigins reads a list of origins as a browser writes them, such as "https://example.com" or
// "http://localhost:8000". "https://*.example.com" is every host under that one, "null" is a page
// without an origin, such as a file, and "*" is every page. A nil list is the zero value, and an
// empty one is no page at all.
func ParseOrigins(list []string) (o Origins, err error) {
	if list == nil {
		return o, nil
	}
	o = Origins{given: true, exact: make(map[string]bool)}
	for _, s := range list {
		if s == "*" {
			o.any = true
			continue
		}
		if s == "null" {
			o.exact[s] = true
			continue
		}
		u, err := url.Parse(s)
		switch {
		case err != nil || u.Scheme == "" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" || strings.HasSuffix(s, "#") || strings.HasSuffix(s, "?"):
			return Origins{}, errors.New(s + " is no origin: write SCHEME://HOST, or SCHEME://HOST:PORT where the port is not the scheme's own")
		case strings.HasPrefix(u.Host, "*.") && !strings.Contains(u.Host[2:], "*"):
			o.under = append(o.under, suffix{u.Scheme, strings.ToLower(u.Host[1:])})
		case strings.Contains(u.Host, "*"):
			return Origins{}, errors.New(s + " has a * that does not stand for everything before a dot: write SCHEME://*.HOST")
		default:
			o.exact[u.Scheme+"://"+strings.ToLower(u.Host)] = true
		}
	}
	return o, nil
}

// Allow reports whether a page of the origin may connect to the host, which is the request's Host.
// A request without an origin, "", is no page's, and may.
func (o *Origins) Allow(origin, host string) bool {
	origin = strings.ToLower(origin)
	scheme, at, _ := strings.Cut(origin, "://")
	switch {
	case origin == "" || o.any:
		return true
	case !o.given:
		return (scheme == "http" || scheme == "https") && at != "" && at == strings.ToLower(host)
	case o.exact[origin]:
		return true
	}
	for _, u := range o.under {
		if u.scheme == scheme && strings.HasSuffix(at, u.host) && len(at) > len(u.host) {
			return true
		}
	}
	return false
}
