// Command socks5 is a SOCKS version 5 proxy (RFC 1928): a client says whom it wants
// to reach, the handler dials, and the host relays from there on. Whom it may dial is
// the tenant's connect list, and nobody else's business.
//
// Its config:
//
//	users = { ann = "secret" }    # user name and password (RFC 1929); without it nobody is asked
package main

import "bulkhead/sdk/go"

func init() { guest.Register(&server{}) }

// main is not run in a guest; see init.
func main() {}
