// Package limits provokes the limits of docs/LIMITS.md, each in a tenant of its own, and wants
// every one of them to be seen by its key where an operator looks: in the metrics, in the status or
// the list of connections, in the access log, and on the page. It holds nothing but tests.
package limits
