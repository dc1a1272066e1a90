package egress

// Find finds the unix socket of t, for whoever connects to it without this package: the
// path t has must be listed, and so must the path of the socket it leads to when links
// on the way are followed. What is returned leads to the very socket that was checked, on
// Linux whatever becomes of its path meanwhile, until release is called, which has to be
// once; it is nil with an error. Find reads the file system, so it is not for a loop.
func (p *Policy) Find(t Target) (path string, release func(), err error) {
	if t.network != "unix" {
		return "", nil, fail(Invalid, t, "it is not a unix target; use Resolve")
	}
	if err := p.Check(t); err != nil {
		return "", nil, err
	}
	socket, err := pin(t.path)
	if err != nil {
		return "", nil, fail(KindOf(err), t, "finding the socket: %w", cause(err))
	}
	if !p.listsPath(socket.path) {
		socket.release()
		return "", nil, fail(Denied, t, "it leads to %s, which is not in the tenant's connect list; add %q to permit it", quote(socket.path), "unix://"+socket.path)
	}
	return socket.dial, socket.release, nil
}
