// Command sni-router sends TLS connections on by the name that the client asks for
// (SNI), without taking part in them: it reads the ClientHello, dials, and has the host
// relay, the ClientHello first. It has no key and sees no byte in the clear.
//
// Its config:
//
//	[listener.config.routes]
//	"www.example.com" = { to = "tcp://10.0.0.1:443" }
//	"*.example.com"   = { to = "tcp://10.0.0.2:443", proxy = "v2" }   # one label or more
//	[listener.config.default]                                         # may be left out
//	to = "unix:///run/web.sock"
//
// An exact name goes before a wildcard, and a longer wildcard before a shorter
// one. proxy has the host send a PROXY protocol header first.
package main

import "bulkhead/sdk/go"

func init() { guest.Register(&router{}) }

// main is not run in a guest; see init.
func main() {}
