package loader

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"bulkhead/engines"
	"bulkhead/host/budget"
	"bulkhead/host/config"
	"bulkhead/host/cores"
	"bulkhead/host/egress"
	"bulkhead/host/tenant"
	"bulkhead/internal/awaittest"
	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins"
	"bulkhead/plugins/codestore"
	"bulkhead/selector"
)

// stock is a loader with one tenant, without a host.
type stock struct {
	*Loader
	t       *testing.T
	tenant  *tenant.Tenant
	log     awaittest.Text // a slow compilation writes to it beside the test
	path    string         // of the plugin
	closing []func()
}

func newStock(t *testing.T, state string) *stock {
	t.Helper()
	c := config.DefaultTenant("acme")
	cfg := &config.Config{Host: config.Host{State: state}, Tenants: []config.Tenant{c}}
	k := &stock{t: t, path: filepath.Join(t.TempDir(), "echo.wasm")}
	k.Loader = New(Options{Log: slog.New(slog.NewTextHandler(&k.log, nil)), Clock: selector.System})
	k.tenant = k.add(c)
	if err := k.Prepare(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		k.Close()
		for _, closes := range k.closing {
			closes()
		}
	})
	return k
}

// add adds a tenant. It is closed after the loader.
func (k *stock) add(c config.Tenant) *tenant.Tenant {
	k.t.Helper()
	shares := cores.New(cores.Options{})
	one, err := tenant.New(c, tenant.Pools{Cores: shares, Mappings: budget.NewPool(1000, 1), Handshakes: budget.NewPool(10, 1), Pipes: budget.NewPool(10, 1), Lookups: egress.Share(nil, 0)}, nil)
	if err != nil {
		k.t.Fatal(err)
	}
	k.closing = append(k.closing, func() {
		shares.Stop()
		if err := one.Close(); err != nil {
			k.t.Error(err)
		}
	})
	k.AddTenant(one)
	return one
}

// write writes the plugin, the kth of many.
func (k *stock) write(number int) (sum [sha256.Size]byte) {
	k.t.Helper()
	m := w.Echo()
	m.Custom("number", []byte(fmt.Sprint(number)))
	m.Data(30000, fmt.Sprint(number))
	if err := os.WriteFile(k.path, m.Bytes(), 0o600); err != nil {
		k.t.Fatal(err)
	}
	return sha256.Sum256(m.Bytes())
}

func (k *stock) loaded(sum string) *module { return k.loadedFor("acme", sum) }

func (k *stock) loadedFor(tenant, sum string) *module {
	k.t.Helper()
	l := config.DefaultListener()
	l.Name, l.Tenant, l.Plugin, l.PluginSHA256, l.Shape = "echo", tenant, k.path, sum, "events"
	m, err := k.load(&l, nil)
	if err != nil {
		k.t.Fatal(err)
	}
	return m
}

// The code of a plugin is there once for all tenants, but for those who say share_code = false.
func TestTenantsShareCode(t *testing.T) {
	k := newStock(t, filepath.Join(t.TempDir(), "state"))
	k.write(1)
	alone := config.DefaultTenant("alone")
	alone.ShareCode = false
	k.add(alone)
	k.add(config.DefaultTenant("b"))
	k.add(config.DefaultTenant("c"))
	code := func(m *module) uintptr { return reflect.ValueOf(m.Module).Elem().Field(0).Pointer() }
	a, own, b, c := k.loaded(""), k.loadedFor("alone", ""), k.loadedFor("b", ""), k.loadedFor("c", "")
	if code(a) != code(b) || code(a) != code(c) {
		t.Error("tenants with the same plugin have code of their own")
	}
	if code(own) == code(a) {
		t.Error("a tenant with share_code = false shares it")
	}
	k.release(a) // whose tenant has compiled it
	if again := k.loadedFor("b", ""); again != b {
		t.Error("b's module is loaded again")
	}
	k.release(b)
	k.release(b)
	k.release(c)
	if k.release(own); len(k.modules) != 0 {
		t.Errorf("%d modules are left", len(k.modules))
	}
}

// A plugin is known by its bytes. It is there once for all who use it, until the last lets go of
// it; then nothing of it is.
func TestModulesAreLetGo(t *testing.T) {
	k := newStock(t, filepath.Join(t.TempDir(), "state"))
	k.write(1)
	a, b := k.loaded(""), k.loaded("")
	if a != b {
		t.Error("a module that two use is there twice")
	}
	k.write(2) // under the same name
	c := k.loaded("")
	if a == c || len(k.modules) != 2 {
		t.Errorf("what was put in the place of a plugin is taken for it; there are %d modules", len(k.modules))
	}
	k.release(a)
	if d := k.loaded(""); d != c {
		t.Error("a module that is used is loaded again")
	}
	k.release(c)
	k.release(c)
	k.write(1)
	if e := k.loaded(""); e != b {
		t.Error("a module that one uses yet was let go of")
	}
	k.release(b)
	k.release(b)
	if len(k.modules) != 0 {
		t.Errorf("%d modules are left", len(k.modules))
	}
	var before []string
	for n := range 50 {
		k.write(n)
		k.release(k.loaded(""))
		if now := k.tenant.Held(); n > 0 && !slices.Equal(now, before) {
			t.Fatalf("after %d modules the tenant holds %v, and %v after one", n+1, now, before)
		} else {
			before = now
		}
	}
	k.DropTenant("acme")
	if held := k.tenant.Held(); len(held) > 0 {
		t.Errorf("the tenant holds %v when its runtime has ended", held)
	}
	if len(k.runtimes) != 0 {
		t.Error("the runtime of a tenant that has gone is there")
	}
}

// A module that has run is kept: plugin_sha256 finds it when its file has changed, or gone, in this
// run or another; one that never ran is not found, and a file with another sum is refused as ever.
func TestModulesAreKept(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	k := newStock(t, state)
	first := k.write(1)
	k.release(k.loaded(""))
	k.write(2)
	next := newStock(t, state)
	next.path = k.path
	for _, change := range []func() error{func() error { return nil }, func() error { return os.Remove(k.path) }} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		m := next.loaded(fmt.Sprintf("%x", first))
		if m.key.sum != first {
			t.Error("another module was loaded")
		}
		next.release(m)
	}
	if said := next.log.String(); strings.Count(said, "the copy of it that the state folder has is used") != 2 || !strings.Contains(said, k.path) {
		t.Errorf("it says %q", said)
	}
	l := config.DefaultListener()
	l.Name, l.Tenant, l.Plugin, l.Shape = "echo", "acme", k.path, "events"
	if _, err := next.load(&l, nil); err == nil {
		t.Error("without a sum, a file that is not there was loaded")
	}
	k.write(3)
	l.PluginSHA256 = strings.Repeat("0", 64)
	if _, err := next.load(&l, nil); err == nil || !strings.Contains(err.Error(), "plugin_sha256 asks for 000000") {
		t.Errorf("a sum that nothing has: %v", err)
	}
	path := filepath.Join(state, "modules", "wasm", fmt.Sprintf("%x.wasm", first))
	if err := os.WriteFile(path, []byte("\x00asm"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.PluginSHA256 = fmt.Sprintf("%x", first)
	if _, err := next.load(&l, nil); err == nil {
		t.Error("a copy that was changed was loaded")
	}
}

// A module that cannot be kept is loaded all the same, and the log says so.
func TestModulesThatCannotBeKept(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	k := newStock(t, state)
	k.write(1)
	// The store does not write to a folder of this mode.
	if err := os.Chmod(filepath.Join(state, "modules"), 0o755); err != nil {
		t.Fatal(err)
	}
	k.release(k.loaded(""))
	if said := k.log.String(); !strings.Contains(said, "a plugin is not kept in the state folder") || !strings.Contains(said, "chmod 700") {
		t.Errorf("it says %q", said)
	}
	if err := os.Chmod(filepath.Join(state, "modules"), 0o700); err != nil {
		t.Fatal(err)
	}
	sum := k.write(2)
	k.release(k.loaded(""))
	if b, err := k.store.Module(codestore.Sum(sum)); err != nil || len(b) == 0 {
		t.Errorf("afterwards it is not kept: %v", err)
	}
}

// Copies of modules beyond module_cache go, those first that were not used for longest, and are
// counted. What is loaded stays, and what is being loaded, whatever they have.
func TestModuleCache(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	k := newStock(t, state)
	var sums []codestore.Sum
	add := func(number int) *module {
		sums = append(sums, k.write(number))
		return k.loaded("")
	}
	there := func() (which []int) {
		for n, sum := range sums {
			if _, err := os.Stat(filepath.Join(state, "modules", "wasm", fmt.Sprintf("%x.wasm", sum))); err == nil {
				which = append(which, n)
			}
		}
		return which
	}
	want := func(what string, removed int64, which ...int) {
		t.Helper()
		if got := there(); !slices.Equal(got, which) || k.kept.removed.Load() != removed {
			t.Errorf("%s: %d are there and %d were removed; want %d and %d", what, got, k.kept.removed.Load(), which, removed)
		}
	}
	used := add(1)
	size := k.kept.bytes.Load()
	if size == 0 {
		t.Fatal("no bytes of it are known")
	}
	k.release(add(2))
	k.release(add(3))
	want("with no bound", 0, 0, 1, 2)
	k.BoundModules(size + size/2)
	want("with room for one and a half", 2, 0)
	if n := k.kept.bytes.Load(); n != size {
		t.Errorf("%d bytes are said to be left of %d", n, size)
	}
	k.BoundModules(1)
	k.release(add(4))
	want("with room for none", 2, 0, 3)
	k.release(add(5))
	want("the next one", 3, 0, 4)
	k.release(used)
	k.BoundModules(2)
	want("when nothing is used", 5)
	k.BoundModules(0)
	k.release(add(6))
	k.release(add(7))
	want("with no bound again", 5, 5, 6)
	if n := k.kept.bytes.Load(); n < 2*size-100 {
		t.Errorf("%d bytes are said to be there", n)
	}
}

// A script runs on the engine that all have, and so does the module that is made of it: neither has
// code of its own.
func TestScriptsShareTheirEngine(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	k := newStock(t, state)
	script := []byte("export default { line(c, text) { c.send(text) } }")
	packed, err := engines.Module("x.js", script)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"a.js": script, "b.js": append(script, '\n'), "c.wasm": packed} {
		k.path = filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(k.path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		m := k.loaded("")
		defer k.release(m)
		if memory, mappings := m.Held(); memory != 0 || mappings != 0 {
			t.Errorf("%s is charged %d bytes and %d mappings for code", name, memory, mappings)
		}
		i, err := m.Instantiate(&plugins.Listener{Name: "x", Tenant: "acme"})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		i.Close()
		if files, _ := filepath.Glob(filepath.Join(state, "modules", "code", "*")); len(files) != 1 {
			t.Errorf("after %s the state folder has the code %q", name, files)
		}
	}
	if n := strings.Count(k.log.String(), "compiling modules"); n != 1 || !strings.Contains(k.log.String(), `first="the engine for JavaScript" plugins=`) {
		t.Errorf("the log says %s", k.log.String())
	}
}

// Scripts that cannot be loaded are counted, each time and by the key of the limit, and nothing
// else is.
func TestRefusedScripts(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.ts": "import './b.ts'; export default {}", "b.ts": "// " + strings.Repeat("x", 8<<10), "wrong.ts": "export default {", "a.wasm": "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := &Loader{scripts: newScripts(Options{Log: slog.New(slog.DiscardHandler)})}
	defer p.scripts.stop()
	read := func(name string, files int, bytes int64, want RefusedScripts) {
		t.Helper()
		l := config.DefaultListener()
		l.Plugin, l.ScriptFiles, l.ScriptBytes = filepath.Join(dir, name), files, bytes
		_, _, err := p.Read(&l)
		if got := p.RefusedScripts(); got != want {
			t.Errorf("%s with %d files and %d bytes: %v; %+v were refused so far, want %+v", name, files, bytes, err, got, want)
		}
	}
	read("a.ts", 2, 1<<20, RefusedScripts{})
	read("a.ts", 1, 1<<20, RefusedScripts{All: 1, Files: 1})
	read("a.ts", 2, 4<<10, RefusedScripts{All: 2, Files: 1, Bytes: 1})
	read("a.ts", 2, 4<<10, RefusedScripts{All: 3, Files: 1, Bytes: 2}) // as it is remembered
	read("wrong.ts", 2, 1<<20, RefusedScripts{All: 4, Files: 1, Bytes: 2})
	read("none.js", 2, 1<<20, RefusedScripts{All: 5, Files: 1, Bytes: 2})
	read("none.wasm", 2, 1<<20, RefusedScripts{All: 5, Files: 1, Bytes: 2})
}
