// Command smtp is a mail sink: it takes messages as a mail server does, with STARTTLS
// and AUTH, logs one line for each, and keeps none.
//
// Its config:
//
//	hostname = "mail.example.com"   # how it calls itself
//	max_size = 10485760             # bytes of a message; this is what it is without the key
//	users = { ann = "secret" }      # who may log in; under TLS only
//	require_auth = true             # nobody else may send
//	starttls = false                # never offer it; without a certificate it is not offered
package main

import "bulkhead/sdk/go"

func init() { guest.Register(&server{}) }

// main is not run in a guest; see init.
func main() {}
