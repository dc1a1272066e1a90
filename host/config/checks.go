package config

import (
	"fmt"
	"net"
	"net/netip"
)

// checkListener looks at what no single key can tell.
func (d *decoder) checkListener(l *Listener, table map[string]any) {
	d.checkKind(l)
	if a := l.Address; a.Network != "" {
		checkSockets(l, a.sockets(), "", d.fail)
		switch {
		case a.WebSocket():
			d.checkWebSocket(l)
		case a.Datagrams():
			checkPrograms(l, "", d.fail)
			d.checkGroups(l)
		case a.Network == "fd": // of either kind, which CheckInherited is told
			d.checkGroups(l)
		}
	}
	d.checkStrayed(l, table, "[listener.config]", "listener")
}

// checkKind looks at whether the kind of instance that a listener or a route has goes together.
func (d *decoder) checkKind(l *Listener) {
	if l.Shape == "stdio" && l.Instance != "connection" {
		mend := `leave instance out, or write instance = "connection"`
		line, given := l.lines["instance"]
		if !given { // a route's listener has it
			line, mend = l.LineOf("shape"), `add instance = "connection"`
		}
		d.fail(line, mend, "instance = %q does not go with shape = \"stdio\", where each connection has a program of its own", l.Instance)
	}
	checkConditions(l, d.fail)
}

// checkWebSocket looks at whether a WebSocket listener's TLS goes with its address.
func (d *decoder) checkWebSocket(l *Listener) {
	a := l.Address
	other := a
	other.Secure = !a.Secure
	switch {
	case a.Secure && l.TLS == nil && !l.Given("tls"):
		d.fail(l.LineOf("address"), "add a table [listener.tls] with cert and key, or listen on "+other.String(), "address %s is WebSocket over TLS, and the listener has no certificate", quote(a.String()))
	case !a.Secure && l.TLS != nil:
		d.fail(l.LineOf("tls"), "write address = "+quote(other.String())+", or leave the table out", "[listener.tls] does not go with address %s, which is WebSocket without TLS", quote(a.String()))
	case l.TLS != nil && l.TLS.StartTLS:
		d.fail(l.LineOf("tls"), "leave starttls out", "starttls does not go with address %s: no handler can ask for TLS over WebSocket", quote(a.String()))
	}
}

// checkGroups looks at whether a UDP listener's groups go with its address.
func (d *decoder) checkGroups(l *Listener) {
	// What an inherited socket is bound to is seen later.
	if len(l.Groups.Addresses) == 0 || l.Address.Network == "fd" {
		return
	}
	host, port, _ := net.SplitHostPort(l.Address.Host)
	if ip, err := netip.ParseAddr(host); host != "" && (err != nil || !ip.IsUnspecified()) {
		d.fail(l.LineOf("address"), "write "+quote(l.Address.Network+"://:"+port), "group does not go with address %s, where nothing comes that is sent to a group", quote(l.Address.String()))
	}
	wrong := func(key string, all []netip.Addr) {
		for _, a := range all {
			if a.Is4() && l.Address.Network == "udp6" || a.Is6() && l.Address.Network == "udp4" {
				d.fail(l.LineOf(key), "listen on udp://, which is of both families, or leave it out", "%s has %s, and address is %s", key, quote(a.String()), quote(l.Address.String()))
				return
			}
		}
	}
	wrong("group", l.Groups.Addresses)
	wrong("source", l.Groups.Sources)
}

// checkPrograms reports a program that is to listen on UDP. what follows the address.
func checkPrograms(l *Listener, what string, fail failure) {
	if l.Shape == "stdio" {
		fail(l.LineOf("shape"), `write a handler with callbacks (shape = "events"), or listen on tcp://`, "shape = \"stdio\" does not go with address %s%s: a program's input is a stream, and would not see where a datagram ends", quote(l.Address.String()), what)
	}
}

// CheckInherited looks at one of the listeners whose address is fd://, once it is known
// whether that is a UDP socket: what a file may say depends on it. The error is an Errors.
func (c *Config) CheckInherited(l *Listener, datagrams bool) error {
	var errs Errors
	fail := func(line int, mend, format string, args ...any) {
		errs = append(errs, &Error{File: c.File, Line: line, What: fmt.Sprintf(format, args...), Mend: mend})
	}
	if datagrams {
		checkSockets(l, udp, ", a UDP socket", fail)
		checkPrograms(l, ", a UDP socket", fail)
	} else {
		checkSockets(l, tcp|unixName, ", a stream socket", fail)
	}
	if len(errs) == 0 {
		return nil
	}
	errs.sort()
	return errs
}

// checkUnused warns of tenants that nothing belongs to.
func (d *decoder) checkUnused(c *Config) {
	used := make(map[string]bool, len(c.Listeners))
	for i := range c.Listeners {
		used[c.Listeners[i].Tenant] = true
		for _, r := range c.Listeners[i].Routes {
			used[r.Listener.Tenant] = true
		}
	}
	for i := range c.Tenants {
		if t := &c.Tenants[i]; !used[t.Name] {
			d.warn(t.Line, "name it in a [[listener]], or leave it out", "tenant %s has no listener", quote(t.Name))
		}
	}
}

// checkClashes finds listeners with one name, and listeners of which only one
// could have its address.
func (d *decoder) checkClashes(all []Listener) {
	names := make(map[string]*Listener)
	taken := make(map[string]*Listener)
	for i := range all {
		l := &all[i]
		if first := names[l.Name]; first != nil {
			d.fail(l.LineOf("name"), fmt.Sprintf("give each listener a name of its own (the first is on line %d)", first.LineOf("name")), "duplicate listener name %s", quote(l.Name))
		} else if l.Name != "" {
			names[l.Name] = l
		}
		d.checkAddress(l, taken)
	}
}

// checkAddress enters a listener's address in taken, and reports one that is
// in there already or overlaps with one that is.
func (d *decoder) checkAddress(l *Listener, taken map[string]*Listener) {
	a := l.Address
	if a.Network == "" {
		return
	}
	for _, claim := range claimsOf(a) {
		for _, other := range claim.against {
			first := taken[other]
			if first == nil {
				continue
			}
			mend := fmt.Sprintf("listen on another address (the first is on line %d)", first.LineOf("address"))
			if first.Address == a {
				d.fail(l.LineOf("address"), mend, "duplicate address %s", quote(a.String()))
			} else {
				d.fail(l.LineOf("address"), mend, "address %s overlaps with %s", quote(a.String()), quote(first.Address.String()))
			}
			return
		}
	}
	for _, claim := range claimsOf(a) {
		for _, own := range claim.own {
			if taken[own] == nil {
				taken[own] = l
			}
		}
	}
}

// claim is a part of what an address takes for itself: the entries it makes,
// and the entries that it cannot stand beside.
type claim struct{ own, against []string }

// claimsOf tells what an address takes. A TCP address for every host of a
// family clashes with each single one of that family on the same port; so does a UDP
// address, and the two have nothing to do with each other.
func claimsOf(a Address) []claim {
	if a.Network == "unix" || a.Network == "fd" {
		s := a.String()
		return []claim{{[]string{s}, []string{s}}}
	}
	host, port, err := net.SplitHostPort(a.Host)
	if err != nil || port == "0" {
		// Port 0 is another one each time.
		return nil
	}
	kind := a.Network[:3] // tcp or udp
	var families []string
	ip, err := netip.ParseAddr(host)
	switch {
	case err == nil && ip.Is4():
		families = []string{"4"}
	case err == nil:
		families = []string{"6"}
	case a.Network == kind+"4":
		families = []string{"4"}
	case a.Network == kind+"6":
		families = []string{"6"}
	default:
		families = []string{"4", "6"}
	}
	every := host == "" || err == nil && ip.IsUnspecified()
	var claims []claim
	for _, family := range families {
		key := kind + family + "/" + port + "/"
		if every {
			// "some" is entered by each address of the family on that port.
			claims = append(claims, claim{[]string{key + "every", key + "some"}, []string{key + "some"}})
			continue
		}
		claims = append(claims, claim{[]string{key + "at " + host, key + "some"}, []string{key + "at " + host, key + "every"}})
	}
	return claims
}
