// Package egress decides whom a tenant's handlers may dial, and finds the
// addresses. It dials nobody: package csa does.
//
//	policy, err := egress.Parse([]string{"db.internal:5432", "*.example.com:443", "10.0.0.0/8:443"})
//	resolver := egress.Share(net.DefaultResolver) // one for the process
//
//	target, err := egress.ParseTarget("tls://api.example.com:443") // a guest's words
//	addresses, err := policy.Resolve(ctx, resolver, target)
//	path, release, err := policy.Find(target) // of a unix socket
//
// Three rules hold whatever a guest asks for and whatever the DNS answers:
//
//   - No query leaves for a name that is not listed: a query is a message to
//     whoever serves the name.
//   - A listed name gives access to public addresses alone. Loopback, private
//     and link-local addresses, the metadata services of clouds and their like
//     (see Policy) are dialled only when they are listed as addresses.
//   - What is dialled is what was checked: the address, not the name, and the
//     socket's inode, not its path, where the system can do that.
package egress
