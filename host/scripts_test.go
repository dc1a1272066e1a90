package host_test

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/host"
	"bulkhead/internal/hosttest"
)

var manyScripts = flag.Int("scripts", 20, "how many tenants TestManyScripts has")

// secretScript is a handler in JavaScript that answers each line with its number, which nobody else
// has, with what its tenant's configuration says, and with how many lines it was asked. Its number
// is all over its memory.
func secretScript(number int) []byte {
	return fmt.Appendf(nil, `// number %[1]d
const number = "number-%[1]d", all = [];
let asked = 0;
for (let i = 0; i < 200; i++) all.push(number + "-" + i, bytes(number));
export default {
  line(c) {
    asked++; count("asked"); log(number);
    for (const a of all) if (!(a instanceof Uint8Array) && !a.startsWith(number)) return c.send("a leak: " + a + "\n");
    if (new Uint8Array(4096).some((b) => b !== 0)) return c.send("a leak\n");
    c.send([number, config.is, c.tenant, asked].join(" ") + "\n");
  },
};
`, number)
}

// scriptTenant is a tenant and its listener, both of that name.
func scriptTenant(name, plugin string, number int) string {
	return fmt.Sprintf(`
[tenant.%[1]s]
memory = "4MiB"
[[listener]]
name = %[1]q
tenant = %[1]q
address = "tcp://127.0.0.1:0"
plugin = %[2]q
event_timeout = "10s"
config = { is = %[3]d }
`, name, plugin, number)
}

// Tenants with a script each are served by one engine, with little memory each. Each serves its
// own.
func TestManyScripts(t *testing.T) {
	dir := t.TempDir()
	var toml strings.Builder
	fmt.Fprintf(&toml, "[host]\nstate = %q\n", hosttest.State())
	for n := range *manyScripts {
		path := filepath.Join(dir, fmt.Sprintf("%d.js", n))
		if err := os.WriteFile(path, secretScript(n), 0o600); err != nil {
			t.Fatal(err)
		}
		toml.WriteString(strings.Replace(scriptTenant(fmt.Sprintf("t%d", n), path, n), "4MiB", "2MiB", 1))
	}
	h := hosttest.Serve(t, toml.String(), host.Options{Log: slog.New(slog.DiscardHandler)})
	for n := range *manyScripts {
		name := fmt.Sprintf("t%d", n)
		c := hosttest.Dial(t, h.Addr(name))
		for k := 1; k <= 2; k++ {
			hosttest.Say(t, c, "?\n")
			hosttest.Hear(t, c, fmt.Sprintf("number-%d %d %s %d\n", n, n, name, k))
		}
		c.Close()
	}
	for _, tenant := range h.Stats().Tenants {
		if tenant.Memory > 2<<20 || tenant.MemoryRefused > 0 {
			t.Errorf("tenant %s holds %d bytes, and was refused some %d times", tenant.Name, tenant.Memory, tenant.MemoryRefused)
		}
	}
}

// Tenants with scripts come and go by reloads, the first and the last of them too, and those that
// stay go on. None leaves a descriptor.
func TestReloadOfScripts(t *testing.T) {
	files := map[string][]byte{"echo.wasm": tally('e').Bytes()}
	many, rounds := 4, 4
	if testing.Short() {
		many, rounds = 2, 3
	}
	for n := range many {
		files[fmt.Sprintf("%d.js", n)] = secretScript(n)
	}
	base := acme + listenerOf("base", "echo.wasm", "")
	l := newLives(t, files, base, host.Options{})
	of := func(n int) string { return scriptTenant(fmt.Sprintf("t%d", n), fmt.Sprintf("%d.js", n), n) }
	descriptors := func() int {
		all, _ := os.ReadDir("/proc/self/fd")
		return len(all)
	}
	before := 0
	for round := range rounds {
		c := l.dial("base")
		l.ask(c, "e0")
		stays := ""
		for n := range many {
			l.mustReload(base + of(n) + stays)
			stays = of(n) // the others go, one after another
			now := hosttest.Dial(t, l.h.Addr(fmt.Sprintf("t%d", n)))
			hosttest.Say(t, now, "?\n")
			hosttest.Hear(t, now, fmt.Sprintf("number-%d %d t%d 1\n", n, n, n))
			if n > 0 { // the one before is there for the last time
				earlier := hosttest.Dial(t, l.h.Addr(fmt.Sprintf("t%d", n-1)))
				hosttest.Say(t, earlier, "?\n")
				hosttest.Hear(t, earlier, fmt.Sprintf("number-%d %d t%d 1\n", n-1, n-1, n-1))
				earlier.Close()
			}
			now.Close()
		}
		l.mustReload(base)
		hosttest.Eventually(t, "they are over", func() bool {
			st := l.h.Stats()
			return st.RetiredGenerations == 0 && len(st.Tenants) == 1
		})
		l.ask(c, "e1")
		c.Close()
		hosttest.Eventually(t, "nobody is connected", func() bool { return l.h.Stats().Connections == 0 })
		if round == 1 {
			before = descriptors()
		}
	}
	hosttest.Eventually(t, "the descriptors are as many as before", func() bool { return descriptors() <= before })
}
