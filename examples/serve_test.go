package examples_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/host"
	"bulkhead/internal/hosttest"
)

// serveOne serves one handler, whose path is from this folder, on a listener of that name with more
// keys, a line each. There are two loops, and no bound of bandwidth that a test would meet.
func serveOne(t *testing.T, listener, path string, keys ...string) (*host.Host, *hosttest.Lines) {
	t.Helper()
	plugin, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := hosttest.NewLines(t)
	return hosttest.Serve(t, fmt.Sprintf(`
[host]
state = %q
loops = 2
[tenant.acme]
bandwidth = "100GiB/s"
[[listener]]
name = %q
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = %q
%s
`, hosttest.State(), listener, plugin, strings.Join(keys, "\n")), host.Options{Log: lines.Log()}), lines
}
