// Command dns is an authoritative name server for one zone, which is in its config. It
// speaks over UDP, and over TCP for answers that are too long.
//
// Its config:
//
//	zone = "example.com"
//	ttl = 3600                      # seconds, for records that do not say; 3600 is the default
//	records = [
//	    "@ SOA ns1 hostmaster 1 7200 3600 1209600 300",
//	    "@ NS ns1",
//	    "ns1 A 192.0.2.53",
//	    "www 300 AAAA 2001:db8::80",
//	    "@ MX 10 mail.example.net.",
//	    "@ TXT \"v=spf1 -all\"",
//	]
//
// A record is a name, perhaps a TTL, a type and its data, as in a zone file. A name
// without a final dot is in the zone; @ is the zone itself.
package main

import "bulkhead/sdk/go"

func init() { guest.Register(&server{}) }

// main is not run in a guest; see init.
func main() {}
