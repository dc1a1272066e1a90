package plugins

import (
	"net/netip"
	"slices"
	"strings"

	"bulkhead/abi"
	"bulkhead/csa"
)

// environment is what a command is told about its connection, by the names that web servers
// and inetd use, and then the listener's own.
func (l *Listener) environment(c *csa.CSA) []string {
	config := l.Config
	if config == nil {
		config = noConfig
	}
	env := []string{
		"SERVER_SOFTWARE=Bulkhead",
		"LISTENER=" + l.Name,
		"TENANT=" + l.Tenant,
		"CONFIG=" + string(config),
	}
	add := func(name, value string) {
		// What a peer has chosen may hold anything but a zero.
		if value != "" && !strings.ContainsRune(value, 0) {
			env = append(env, name+"="+value)
		}
	}
	address := func(side, at string) {
		if a, err := netip.ParseAddrPort(at); err == nil {
			add(side+"_ADDR", a.Addr().String())
			add(side+"_PORT", at[strings.LastIndexByte(at, ':')+1:])
		} else if at != "@" { // a socket without a name
			add(side+"_ADDR", at)
		}
	}
	address("REMOTE", c.Peer())
	address("SERVER", c.Local())
	add("SSL_PROTOCOL", c.TLSInfo(abi.InfoTLSVersion))
	add("SSL_CIPHER", c.TLSInfo(abi.InfoCipher))
	add("SSL_TLS_SNI", c.TLSInfo(abi.InfoServerName))
	add("SSL_CLIENT_S_DN", c.TLSInfo(abi.InfoClientSubject))
	// The listener's own come instead: the first of two with one name is what is found.
	env = slices.DeleteFunc(env, func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return slices.ContainsFunc(l.Env, func(own string) bool { return strings.HasPrefix(own, name+"=") })
	})
	return append(env, l.Env...)
}
