// Package tlstest holds the host's TLS to what clients other than crypto/tls's think of
// it: openssl s_client and curl, which its tests run. It has no code of its own.
package tlstest
