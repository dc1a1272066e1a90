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
// is all over its memory. It spins, or takes all the memory that it can have, when it is told to.
func secretScript(number int) []byte {
	return fmt.Appendf(nil, `// number %[1]d
const number = "number-%[1]d", all = [];
let asked = 0;
for (let i = 0; i < 200; i++) all.push(number + "-" + i, bytes(number));
export default {
  line(c, text) {
    asked++; count("asked"); log(number);
    for (const a of all) if (!(a instanceof Uint8Array) && !a.startsWith(number)) return c.send("a leak: " + a + "\n");
    if (new Uint8Array(4096).some((b) => b !== 0)) return c.send("a leak\n");
    if (text === "spin") for (;;);
    if (text === "hog") for (;;) all.push(new Uint8Array(65536).fill(1));
    c.send([number, config.is, c.tenant, asked].join(" ") + "\n");
  },
};
`, number)
}

// secretLua is the same in Lua.
func secretLua(number int) []byte {
	return fmt.Appendf(nil, `-- number %[1]d
local number, all, asked = "number-%[1]d", {}, 0
for i = 1, 200 do all[i] = number .. "-" .. i end
return { line = function(c, text)
  asked = asked + 1 count("asked") log(number)
  for i = 1, 200 do if not all[i]:find(number, 1, true) then return c:send("a leak: " .. all[i] .. "\n") end end
  if seen then return c:send("a leak: " .. seen .. "\n") end
  if text ~= "?" then seen = text end
  while text == "spin" do end
  while text == "hog" do all[#all + 1] = ("x"):rep(65536) .. #all end
  c:send(number .. " " .. math.tointeger(config.is) .. " " .. c.tenant .. " " .. asked .. "\n")
end }
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

// What a tenant's script does to itself is nothing to another's on the same engine: its time, its
// memory, its counts, its log and its end are its own.
func TestScriptsTakeNothingFromEachOther(t *testing.T) {
	for ending, script := range map[string]func(number int) []byte{".js": secretScript, ".lua": secretLua} {
		t.Run(ending, func(t *testing.T) { takeNothing(t, ending, script) })
	}
}

func takeNothing(t *testing.T, ending string, script func(number int) []byte) {
	files := map[string][]byte{"bad" + ending: script(1), "good" + ending: script(2)}
	log := hosttest.NewLines(t)
	bad := strings.Replace(scriptTenant("bad", "bad"+ending, 1), `"10s"`, `"1s"`, 1) // it spins
	l := newLives(t, files, scriptTenant("good", "good"+ending, 2)+bad,
		host.Options{Log: log.Log()})
	good, asked := l.dial("good"), 0
	ask := func() {
		t.Helper()
		asked++
		hosttest.Say(t, good, "?\n")
		hosttest.Hear(t, good, fmt.Sprintf("number-2 2 good %d\n", asked))
	}
	ask()
	for _, harm := range []string{"spin", "hog"} {
		bad := l.dial("bad")
		hosttest.Say(t, bad, "?\n")
		hosttest.Hear(t, bad, "number-1 1 bad 1\n") // each connection has a copy
		hosttest.Say(t, bad, harm+"\n")
		ask()
		hosttest.HearEnd(t, bad)
		ask()
	}
	var tenants [2]host.TenantStats
	for _, s := range l.h.Stats().Tenants {
		if s.Name == "good" {
			tenants[0] = s
		} else {
			tenants[1] = s
		}
	}
	if s := tenants[0]; s.MemoryRefused != 0 || s.Memory > 4<<20 || s.Counts["asked"] != int64(asked) {
		t.Errorf("the good one was refused memory %d times, holds %d bytes, and has counted %v; it was asked %d times", s.MemoryRefused, s.Memory, s.Counts, asked)
	}
	if s := tenants[1]; s.MemoryRefused == 0 || s.Counts["asked"] != 4 || s.Fuel < tenants[0].Fuel {
		t.Errorf("the bad one was refused memory %d times, has used %d units, and has counted %v; the good one has used %d", s.MemoryRefused, s.Fuel, s.Counts, tenants[0].Fuel)
	}
	for _, l := range l.h.Stats().Listeners {
		if (l.Name == "good") != (l.Traps+l.LimitStops == 0) {
			t.Errorf("%s has trapped %d times, and was stopped %d times", l.Name, l.Traps, l.LimitStops)
		}
	}
	good.Close()
	log.Wait("number-1", "tenant=bad")
	log.Wait("number-2", "tenant=good")
	if log.Has("number-1", "tenant=good") || log.Has("number-2", "tenant=bad") {
		t.Error("a line of the log is another tenant's")
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
