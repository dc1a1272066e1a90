package metertest

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// suiteDir is where the engine's module keeps the core test suite, with a
// folder for each version of WebAssembly.
var suiteDir = sync.OnceValues(func() (string, error) {
	const wazeroModule = "github.com/tetratelabs/wazero"
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", wazeroModule).Output()
	if err != nil {
		return "", fmt.Errorf("find the module %s: %w", wazeroModule, err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "internal", "integration_test", "spectest"), nil
})

// refusedOnPurpose are valid modules that the gate refuses, and why. Each has
// to be refused: what is not any more has to go from here.
var refusedOnPurpose = map[string]string{}

// acceptedByEngine are modules that the suite has as invalid while the engine
// takes them, and why. The gate may do either.
var acceptedByEngine = map[string]string{
	"v2/global.22.wasm": mutableInConstant,
	"v2/data.57.wasm":   mutableInConstant,
	"v2/data.60.wasm":   mutableInConstant,
	"v2/elem.47.wasm":   mutableInConstant,
	"v2/elem.50.wasm":   mutableInConstant,
}

const mutableInConstant = "a constant expression reads a mutable imported global, which the engine does not look for"

// changedSinceVersion1 are lines of the first version whose results are others
// since bulk memory: a module that cannot be instantiated leaves behind what its
// first segments wrote.
var changedSinceVersion1 = []string{"linking:236", "linking:248", "linking:342", "linking:354"}

// TestSuite runs the core test suite of WebAssembly 2.0: all of it with -whole, and without that
// all but what uses up stacks again and again.
func TestSuite(t *testing.T) { testSuite(t, "v2", 65) }

// TestSuiteOfVersion1 runs that of WebAssembly 1.0 with the features of 2.0: a few scripts of it,
// or all with -whole. What was invalid then may be valid now: there the engine's word counts.
// Scripts that the suite of 2.0 has unchanged are [TestSuite]'s.
func TestSuiteOfVersion1(t *testing.T) { testSuite(t, "v1", 70) }

var whole = flag.Bool("whole", false, "run all of TestSuite and of TestSuiteOfVersion1, and use up the stack with all frames of TestFuelBoundsTheStack")

// few are the scripts for runs with the race detector, under which all
// of them take minutes. What it looks for, memory shared between goroutines,
// does not depend on which instructions run; these have calls, traps, linked
// modules, tables, and bulk operations. Without -whole the first version has no more, either: most
// of what its scripts say the second's say, too.
var few = []string{"linking", "traps", "start", "bulk"}

// useUpStacks are scripts that use up a stack in each world, which is half of the time of all
// scripts. Without -whole the commands that do so are left out, and the rest of these scripts runs.
// The script call uses up two stacks all the same.
var useUpStacks = []string{"call_indirect", "fac", "skip-stack-guard-page"}

func testSuite(t *testing.T, version string, atLeast int) {
	root, err := suiteDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, version, "testdata")
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) < atLeast {
		t.Fatalf("find scripts in %s: %d, %v; want at least %d", dir, len(files), err, atLeast)
	}
	spectest, err := os.ReadFile(filepath.Join(root, "testdata", "spectest.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	var seen seenFiles
	onlyFew := raceDetector || version == "v1" && !*whole
	left := 0 // scripts that are another version's
	t.Run("scripts", func(t *testing.T) {
		for _, file := range files {
			name := strings.TrimSuffix(filepath.Base(file), ".json")
			if onlyFew && !slices.Contains(few, name) {
				continue
			}
			if version == "v1" {
				same, err := unchanged(file, filepath.Join(root, "v2", "testdata", name+".json"))
				if err != nil {
					t.Fatal(err)
				}
				if same {
					left++
					continue
				}
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s, err := readScript(file)
				if err != nil {
					t.Fatal(err)
				}
				newRunner(t, version, name, dir, spectest, &seen).run(s)
			})
		}
	})
	if t.Failed() || onlyFew {
		return
	}
	for _, list := range []map[string]string{refusedOnPurpose, acceptedByEngine} {
		for name := range list {
			if strings.HasPrefix(name, version+"/") && !seen.has(name) {
				t.Errorf("%s is listed as an exception, but no longer is one: take it out", name)
			}
		}
	}
	if left > len(files)/2 {
		t.Errorf("%d of %d scripts are left to the other version", left, len(files))
	}
	t.Logf("%d scripts are left to the other version; %d modules, %d calls, %d traps, %d modules refused as they have to be, %d refills, %d units of fuel",
		left, seen.modules, seen.calls, seen.traps, seen.refusals, seen.refills, seen.fuel)
}

// unchanged reports whether two scripts are the same, byte for byte, but for the lines that their
// commands stood on and the names of the modules beside them. There may be no second.
func unchanged(first, second string) (bool, error) {
	a, err := readScript(first)
	if err != nil {
		return false, err
	}
	b, err := readScript(second)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || len(a.Commands) != len(b.Commands) {
		return false, err
	}
	for i := range a.Commands {
		x, y := a.Commands[i], b.Commands[i]
		if x.Filename != "" && y.Filename != "" && x.ModuleType != "text" && y.ModuleType != "text" {
			m, err := os.ReadFile(filepath.Join(filepath.Dir(first), x.Filename))
			if err != nil {
				return false, err
			}
			n, err := os.ReadFile(filepath.Join(filepath.Dir(second), y.Filename))
			if err != nil || !bytes.Equal(m, n) {
				return false, err
			}
			x.Filename, y.Filename = "", ""
		}
		x.Line, y.Line = 0, 0
		if !reflect.DeepEqual(x, y) {
			return false, nil
		}
	}
	return true, nil
}

// seenFiles counts over all scripts, which run at the same time.
type seenFiles struct {
	mu                              sync.Mutex
	exceptions                      map[string]bool
	modules, calls, traps, refusals int
	refills                         int
	fuel                            int64
}

func (s *seenFiles) has(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.exceptions[name]
}

func (s *seenFiles) exception(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.exceptions == nil {
		s.exceptions = make(map[string]bool)
	}
	s.exceptions[name] = true
}

func (s *seenFiles) add(r *runner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.modules += r.modules
	s.calls += r.calls
	s.traps += r.traps
	s.refusals += r.refusals
	for _, w := range r.worlds {
		s.refills += w.refills
	}
	s.fuel += r.worlds[1].used()
}

// runner runs one script in all worlds of both engines.
type runner struct {
	t        *testing.T
	version  string
	name     string // of the script
	dir      string
	seen     *seenFiles
	engines  []*engine
	worlds   []*world // plain, metered, metered in tiny slices; in one engine, then in the other; then the counting one
	contexts []context.Context
	current  []api.Module // the last instance of each world; nil: it was refused on purpose
	named    map[string][]api.Module

	bulk bool // some module has instructions whose cost depends on operands

	modules, calls, traps, refusals int
}

func newRunner(t *testing.T, version, name, dir string, spectest []byte, seen *seenFiles) *runner {
	r := &runner{
		t: t, version: version, name: name, dir: dir, seen: seen,
		engines: engines(t), named: make(map[string][]api.Module),
	}
	r.worlds = append(append(worlds(r.engines[0]), worlds(r.engines[1])...), newCounter(r.engines[0]))
	for _, w := range r.worlds {
		ctx := w.context(t.Context())
		m, err := w.engine.runtime.InstantiateWithConfig(ctx, spectest, wazero.NewModuleConfig().WithName(""))
		if err != nil {
			t.Fatalf("instantiate the module spectest: %v", err)
		}
		w.registered["spectest"] = m
		r.contexts = append(r.contexts, ctx)
	}
	return r
}

func (r *runner) run(s *script) {
	defer r.seen.add(r)
	for i := range s.Commands {
		c := &s.Commands[i]
		if c.Type == "assert_exhaustion" && !*whole && slices.Contains(useUpStacks, r.name) {
			continue
		}
		switch c.Type {
		case "module":
			r.module(c)
		case "register":
			instances := r.instances(c.Name)
			for i, w := range r.worlds {
				if instances != nil {
					w.registered[c.As] = instances[i]
				}
			}
		case "action", "assert_return", "assert_trap", "assert_exhaustion":
			r.action(c)
		case "assert_invalid", "assert_malformed":
			if c.ModuleType == "binary" {
				r.invalid(c)
			}
		case "assert_unlinkable", "assert_uninstantiable":
			if c.ModuleType == "binary" {
				r.unlinkable(c)
			}
		default:
			r.t.Fatalf("line %d has the unknown command %q", c.Line, c.Type)
		}
	}
}

// counting is the world that counts.
const counting = 6

// plain is the plain world of the same engine.
func (r *runner) plain(world int) int {
	if world == counting {
		return 0
	}
	return world / 3 * 3
}

// instances are those of the module of that name, or the last ones.
func (r *runner) instances(name string) []api.Module {
	if name == "" {
		return r.current
	}
	return r.named[name]
}

func (r *runner) read(c *command) []byte {
	b, err := os.ReadFile(filepath.Join(r.dir, c.Filename))
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

// compile compiles the module of c in each engine. The gate and the rewriter
// say the same whatever the engine; refused is what they or an engine said.
func (r *runner) compile(c *command) (programs []*program, invalid, refused error) {
	b := r.read(c)
	kept := bytes.Clone(b)
	for _, e := range r.engines {
		p, err := e.compile(r.t.Context(), b)
		programs = append(programs, p)
		if err != nil {
			invalid = err
		}
		if p.refused != nil {
			refused = p.refused
		}
		r.t.Cleanup(func() { p.close(context.Background()) })
	}
	if invalid == nil && refused == nil {
		if err := r.engines[0].compileCounted(r.t.Context(), programs[0], b); err != nil {
			r.t.Fatalf("%s: count what it executes: %v", c.Filename, err)
		}
		programs = append(programs, programs[0])
	}
	if !bytes.Equal(b, kept) {
		r.t.Errorf("%s: metering changed the bytes it was given", c.Filename)
	}
	return programs, invalid, refused
}

// instantiate makes an instance in each world, and returns the errors of those
// that could not.
func (r *runner) instantiate(programs []*program) (instances []api.Module, errs []error) {
	for i, w := range r.worlds {
		m, err := w.instantiate(r.contexts[i], programs[i/3])
		instances, errs = append(instances, m), append(errs, err)
	}
	return instances, errs
}

// used is what each world has used by now.
func (r *runner) used() []int64 {
	var used []int64
	for _, w := range r.worlds {
		used = append(used, w.used())
	}
	return used
}

// module: valid, and accepted by everyone.
func (r *runner) module(c *command) {
	programs, invalid, refused := r.compile(c)
	r.current = nil
	switch reason := refusedOnPurpose[r.version+"/"+c.Filename]; {
	case invalid != nil:
		r.t.Fatalf("line %d: %s does not compile as it is: %v", c.Line, c.Filename, invalid)
	case refused != nil && reason != "":
		r.seen.exception(r.version + "/" + c.Filename)
	case refused != nil:
		r.t.Errorf("line %d: %s is valid: %v", c.Line, c.Filename, refused)
	default:
		before := r.used()
		instances, errs := r.instantiate(programs)
		for i, err := range errs {
			if err != nil {
				r.t.Fatalf("line %d: instantiate %s %s: %v", c.Line, c.Filename, r.worlds[i].name, err)
			}
		}
		r.modules++
		r.bulk = r.bulk || programs[0].bulk
		r.sameFuel(c, func(i int) int64 { return r.worlds[i].used() - before[i] })
		r.current = instances
	}
	if c.Name != "" {
		r.named[c.Name] = r.current
	}
}

// invalid: what the engine refuses as it is, it or the gate has to refuse when
// metered, and the other way round.
func (r *runner) invalid(c *command) {
	_, invalid, refused := r.compile(c)
	name := r.version + "/" + c.Filename
	switch {
	case invalid != nil && refused == nil:
		r.t.Errorf("line %d: %s is accepted when metered; want it refused: %v", c.Line, c.Filename, invalid)
	case invalid == nil && r.version == "v2" && acceptedByEngine[name] == "":
		r.t.Errorf("line %d: %s is accepted by the engine; want: %s", c.Line, c.Filename, c.Text)
	case invalid == nil && refused != nil && r.version == "v1" && refusedOnPurpose[name] == "":
		r.t.Errorf("line %d: %s is valid by now: %v", c.Line, c.Filename, refused)
	case invalid == nil:
		r.seen.exception(name)
	default:
		r.refusals++
	}
}

// unlinkable: valid, but no instance can be made, or its start function traps.
func (r *runner) unlinkable(c *command) {
	programs, invalid, refused := r.compile(c)
	if invalid != nil || refused != nil {
		if invalid == nil && refusedOnPurpose[r.version+"/"+c.Filename] != "" {
			r.seen.exception(r.version + "/" + c.Filename)
		} else if invalid == nil || refused == nil {
			r.t.Errorf("line %d: %s: plain: %v, metered: %v; want the same", c.Line, c.Filename, invalid, refused)
		}
		return
	}
	before := r.used()
	_, errs := r.instantiate(programs)
	for i, err := range errs {
		plain := errs[r.plain(i)]
		if (err == nil) != (plain == nil) || trapOf(err) != trapOf(plain) {
			r.t.Errorf("line %d: %s %s: %v; plain: %v", c.Line, c.Filename, r.worlds[i].name, err, plain)
		}
	}
	r.sameFuel(c, func(i int) int64 { return r.worlds[i].used() - before[i] })
}

// trapOf is the engine's word for the trap in err, or nothing when err is
// none.
func trapOf(err error) string {
	if err == nil || !strings.Contains(err.Error(), "wasm error: ") {
		return ""
	}
	return root(err).Error()
}

// sameFuel wants the same of all metered worlds.
func (r *runner) sameFuel(c *command, fuel func(world int) int64) {
	want := fuel(1)
	for i, w := range r.worlds {
		if w.metered && fuel(i) != want {
			r.t.Errorf("line %d: %s: %d units of fuel %s, %d %s", c.Line, c.Action.Field, fuel(i), w.name, want, r.worlds[1].name)
		}
	}
}

func (r *runner) action(c *command) {
	instances := r.instances(c.Action.Module)
	if instances == nil {
		return
	}
	var args []uint64
	for _, v := range c.Action.Args {
		words, err := v.stack()
		if err != nil {
			r.t.Fatalf("line %d: read its arguments: %v", c.Line, err)
		}
		args = append(args, words...)
	}
	outcomes := make([]outcome, len(r.worlds))
	for i, w := range r.worlds {
		o, err := r.act(i, w, instances[i], &c.Action, args)
		if err != nil {
			r.t.Fatalf("line %d %s: %v", c.Line, w.name, err)
		}
		outcomes[i] = o
	}
	r.calls++
	if outcomes[0].trap != nil {
		r.traps++
	}
	for i, o := range outcomes {
		plain := outcomes[r.plain(i)]
		if i == r.plain(i) {
			r.expected(c, r.worlds[i], o)
			continue
		}
		if o.trap != plain.trap || !slices.Equal(o.results, plain.results) {
			r.t.Errorf("line %d: %s(%#x) %s: %s, plain: %s", c.Line, c.Action.Field, args, r.worlds[i].name, o, plain)
		}
	}
	if outcomes[1].overflow() {
		r.bounded(c, outcomes[1])
		return
	}
	r.sameFuel(c, func(i int) int64 { return outcomes[i].fuel })
	if d := outcomes[1].unsound(outcomes[counting], r.bulk); d != "" {
		r.t.Errorf("line %d: %s(%#x): %s", c.Line, c.Action.Field, args, d)
	}
}

// bounded wants that a call that went too deep has paid for the stack that it took.
func (r *runner) bounded(c *command, o outcome) {
	if paid := o.fuel * stackPerUnit; paid < leastStack {
		r.t.Errorf("line %d: %s used up the stack with %d units of fuel, which are for %d bytes", c.Line, c.Action.Field, o.fuel, paid)
	}
}

func (r *runner) act(i int, w *world, m api.Module, a *action, args []uint64) (outcome, error) {
	if a.Type == "invoke" {
		return w.call(r.contexts[i], m, a.Field, args)
	}
	g := m.ExportedGlobal(a.Field)
	if g == nil {
		return outcome{}, fmt.Errorf("no global %q is exported", a.Field)
	}
	return outcome{results: []uint64{g.Get()}}, nil
}

// trapTexts are the engine's words for the suite's.
var trapTexts = map[string]string{
	"indirect call":                 "indirect call type mismatch",
	"undefined element":             "invalid table access",
	"undefined":                     "invalid table access",
	"uninitialized":                 "invalid table access",
	"uninitialized element":         "invalid table access",
	"out of bounds table access":    "invalid table access",
	"call stack exhausted":          "stack overflow",
	"null function":                 "null reference",
	"invalid conversion to integer": "invalid conversion to integer",
}

// expected compares with what the suite says, so that a mistake of this runner
// cannot make all worlds agree on nothing.
func (r *runner) expected(c *command, w *world, o outcome) {
	if r.version == "v1" && slices.Contains(changedSinceVersion1, fmt.Sprintf("%s:%d", r.name, c.Line)) {
		return
	}
	switch c.Type {
	case "assert_return":
		rest, ok := o.results, o.trap == nil
		for _, v := range c.Expected {
			var matched bool
			var err error
			if rest, matched, err = v.match(rest); err != nil {
				r.t.Fatalf("line %d %s: %v", c.Line, w.name, err)
			}
			ok = ok && matched
		}
		if !ok || len(rest) > 0 {
			r.t.Errorf("line %d: %s %s: %s, want %v", c.Line, c.Action.Field, w.name, o, c.Expected)
		}
	case "assert_trap", "assert_exhaustion":
		want, known := trapTexts[c.Text]
		if strings.HasPrefix(c.Text, "uninitialized") {
			want = "invalid table access"
		} else if !known {
			want = c.Text
		}
		if o.trap == nil || o.trap.Error() != want {
			r.t.Errorf("line %d: %s %s: %s, want a trap: %s", c.Line, c.Action.Field, w.name, o, want)
		}
	}
}
