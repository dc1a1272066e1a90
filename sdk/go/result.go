package guest

// Result is what the host answers later to what a handler has asked it to do.
type Result struct {
	// Revision is that of what was read or written.
	Revision int64
	// Value are bytes that lie in the window: they are valid until the function that is given them
	// returns.
	Value []byte
}

// await begins an operation under a token of its own, and has then called once with how it went,
// after the callback that runs. An error says that it was not begun; then is not called then.
func (g *instance) await(begin func(token int32) int32, then func(Result, error)) error {
	if g.results == nil {
		g.results = make(map[int32]func(Result, error))
	}
	g.token++
	for g.results[g.token] != nil {
		g.token++
	}
	token := g.token
	if err := errorOf(begin(token)); err != nil {
		return err
	}
	if then == nil {
		then = func(Result, error) {}
	}
	g.results[token] = then
	return nil
}

func (g *instance) result(token, status int32, revision int64, n int32) {
	then := g.results[token]
	if then == nil || n < 0 || int(n) > len(g.window) {
		return
	}
	delete(g.results, token)
	then(Result{Revision: revision, Value: g.window[:n:n]}, errorOf(status))
}
