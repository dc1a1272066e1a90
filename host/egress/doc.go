// Package egress decides whom a tenant's handlers may dial, finds the
// addresses, and dials them.
//
//	policy, err := egress.Parse([]string{"db.internal:5432", "*.example.com:443", "10.0.0.0/8:443"})
//	resolver := egress.Share(net.DefaultResolver)                            // one for the process
//	dialer := &egress.Dialer{Resolver: resolver, Gates: []egress.Gate{ofProcess, ofTenant}} // one for each tenant
//
//	target, err := egress.ParseTarget("tls://api.example.com:443") // a guest's words
//	conn, err := dialer.Connect(ctx, policy, target)
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
