package compiler

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sort"
	"time"

	"bulkhead/plugins/admit"
	"bulkhead/plugins/exceptions"
	"bulkhead/plugins/internal/inside"
	"bulkhead/plugins/meter"
	"bulkhead/plugins/trace"
	"bulkhead/plugins/wasm"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"
)

// Calls are where a module was when it trapped.
type Calls struct {
	// Shape is what the module was made ready for by admit.Mend; "": it was not.
	Shape admit.Shape
	// Meter is how the module was rewritten, Exports aside.
	Meter meter.Options
	// At are places in its native code, each behind the instruction that was running: the innermost
	// call first. At most MaxCalls are looked at.
	At []uint32
	// Sum is SumOf the native code.
	Sum uint32
}

// MaxCalls is how many calls are located at most.
const MaxCalls = 32

// LocateLimits are what locating takes at most: a module with DWARF is compiled again, and the
// DWARF read.
var LocateLimits = Limits{CPU: time.Minute, Wall: 3 * time.Minute}

// SumOf tells native code apart from other code.
func SumOf(code []byte) uint32 { return crc32.Checksum(code, castagnoli) }

// locating is the argument behind the limits that has Main locate calls, and not compile.
const locating = "locate"

// request is the first line of what the child reads; the module and the file with its lines follow.
type request struct {
	Calls
	Module, Lines int // how long they are; without Lines they are in the module
}

// maxSymbol is how much of a function's name in the module is looked at, in bytes.
const maxSymbol = 1024

// maxAnswer is how long the answer may be, in bytes: one line.
const maxAnswer = 64 << 10

// Locate says where in its source a module was, the innermost call first, inlined ones also. module
// is as it was loaded, before admit.Mend, exceptions.Lower and meter.Rewrite, and lines is a module
// with the DWARF, or nil where module has it. It is done in a child process with LocateLimits, as
// Compile is, since what the module says may be made to harm whoever reads it: that has to compile
// it again, with a map of its code, which nobody keeps. The text of the places is the module's, and
// short. Errors are those of Compile.
func (c Command) Locate(ctx context.Context, calls Calls, module, lines []byte, dir string) ([]trace.Place, error) {
	calls.At = calls.At[:min(len(calls.At), MaxCalls)]
	head, err := json.Marshal(request{calls, len(module), len(lines)})
	if err != nil {
		return nil, err
	}
	input := io.MultiReader(bytes.NewReader(append(head, '\n')), bytes.NewReader(module), bytes.NewReader(lines))
	c.Limits = LocateLimits
	var places []trace.Place
	err = c.inChild(ctx, dir, exchange{input: input}, []string{locating}, func(_ string, said []byte) error {
		if err := json.Unmarshal(said, &places); err != nil {
			return strange("where it was is not to be read: %v", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return places, nil
}

// locateHere confines the process, and answers one request.
func locateHere(limits Limits) error {
	if _, err := confine(limits, false); err != nil {
		return fmt.Errorf("the compiler could not be confined: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(os.Stdin, 2*maxInput))
	if err != nil {
		return fmt.Errorf("the compiler could not read the module: %w", err)
	}
	head, rest, _ := bytes.Cut(b, []byte("\n"))
	var r request
	if err := json.Unmarshal(head, &r); err != nil || r.Module < 0 || r.Lines < 0 || r.Module > len(rest) || r.Lines != len(rest)-r.Module {
		return errors.New("the compiler was given something else than a module")
	}
	module, lines := rest[:r.Module], rest[r.Module:]
	places, err := locate(r.Calls, module, lines)
	if err != nil {
		return err
	}
	answer, err := json.Marshal(places)
	if err != nil {
		return err
	}
	for len(answer) > maxAnswer && len(places) > 0 {
		places = places[:len(places)/2]
		answer, _ = json.Marshal(places)
	}
	_, err = os.Stdout.Write(answer)
	return err
}

// locate is what the child does.
func locate(calls Calls, module, lines []byte) (places []trace.Place, err error) {
	defer func() {
		if p := recover(); p != nil {
			places, err = nil, fmt.Errorf("what it says of its lines cannot be read: %v", p)
		}
	}()
	m, core, err := admit.Open(module)
	if err != nil {
		return nil, err
	}
	if len(lines) == 0 {
		lines = core
	}
	admit.Mend(m, calls.Shape)
	lowered, err := exceptions.Lower(m, exceptions.Options{Origins: true})
	if err != nil {
		return nil, err
	}
	calls.Meter.Exports, calls.Meter.Origins = lowered.Exports(), true
	metered, err := meter.Rewrite(lowered.Module, calls.Meter)
	if err != nil {
		return nil, err
	}
	code, err := compileMapped(metered.Code)
	if err != nil {
		return nil, err
	}
	if code.sum != calls.Sum {
		return nil, errors.New("its code comes out otherwise than it runs; start this process again")
	}
	known, err := trace.Open(trace.Sections(lines))
	if err != nil {
		return nil, err
	}
	names := make(map[uint32]string)
	m.FunctionNames(func(i uint32, name []byte) bool {
		names[i] = trace.Name(string(name[:min(len(name), maxSymbol)]))
		return true
	})
	var functions []string // of the calls
	var of []int           // how many places each has
	for _, at := range calls.At {
		n, ok := code.function(at)
		if !ok || n >= m.Functions {
			continue // a helper of the meter's, or nothing
		}
		var found []trace.Place
		if offset, ok := code.source(at); ok {
			old, ok := metered.Origins.At(offset)
			if ok && lowered.Used {
				old, ok = lowered.Origins.At(old)
			}
			if ok {
				if found, err = known.At(old); err != nil {
					return nil, err
				}
			}
		}
		index := uint32(m.Imported(wasm.Function) + n)
		if len(found) == 0 {
			found = []trace.Place{{}}
		}
		if last := &found[len(found)-1]; last.Function == "" {
			if last.Function = names[index][:min(len(names[index]), trace.MaxName)]; last.Function == "" {
				last.Function = fmt.Sprintf("$%d", index)
			}
		}
		places = append(places, found...)
		functions, of = append(functions, names[index]), append(of, len(found))
	}
	if n := trace.PanicCalls(functions); n > 0 {
		skip := 0
		for _, places := range of[:n] {
			skip += places
		}
		places = append([]trace.Place{{Function: trace.Panic}}, places[skip:]...)
	}
	return places, nil
}

// mapped is what the engine says of code that was compiled with a map.
type mapped struct {
	sum       uint32
	functions []uint64    // where each begins
	places    [][2]uint64 // of the rewritten code section, and of the native code
}

// function is the number of the function that native code is of, the imported ones not counted.
func (m *mapped) function(at uint32) (n int, ok bool) {
	// at is behind an instruction.
	n = sort.Search(len(m.functions), func(i int) bool { return m.functions[i] >= uint64(at) }) - 1
	return n, n >= 0
}

// source is the offset into the rewritten code section of the instruction that native code before a
// place is of.
func (m *mapped) source(at uint32) (offset uint32, ok bool) {
	i := sort.Search(len(m.places), func(i int) bool { return m.places[i][1] >= uint64(at) }) - 1
	if i < 0 {
		return 0, false
	}
	return uint32(m.places[i][0]), true
}

// noLines are the sections of DWARF that says nothing, for an engine that keeps a map of the code
// where there is any: a unit without entries.
var noLines = append(custom(".debug_abbrev", []byte{0}), custom(".debug_info", []byte{7, 0, 0, 0, 4, 0, 0, 0, 0, 0, 4})...)

func custom(name string, b []byte) []byte {
	c := append(binary.AppendUvarint(nil, uint64(len(name))), name...)
	c = append(c, b...)
	return append(binary.AppendUvarint([]byte{0}, uint64(len(c))), c...)
}

// compileMapped compiles a rewritten module as compile does, with a map.
func compileMapped(module []byte) (*mapped, error) {
	kept := &codeWithMap{}
	cache, err := inside.CacheOf(kept)
	if err != nil {
		return nil, err
	}
	ctx := experimental.WithCompilationWorkers(context.Background(), 1)
	module = append(module[:len(module):len(module)], noLines...)
	r := wazero.NewRuntimeWithConfig(ctx, EngineConfig().WithDebugInfoEnabled(true).WithMemoryLimitPages(wasm.MaxPages).WithCompilationCache(cache))
	defer r.Close(ctx)
	if _, err := r.CompileModule(ctx, module); err != nil {
		return nil, err
	}
	return readMapped(kept.b)
}

// codeWithMap keeps what the engine has compiled.
type codeWithMap struct{ b []byte }

func (c *codeWithMap) Get([32]byte) (io.ReadCloser, bool, error) { return nil, false, nil }
func (c *codeWithMap) Delete([32]byte) error                     { return nil }
func (c *codeWithMap) Add(_ [32]byte, content io.Reader) (err error) {
	c.b, err = io.ReadAll(content)
	return err
}

var errNoMap = errors.New("the engine has made no map of its code")

// readMapped reads code as wazero 1.12 writes it, with a map.
func readMapped(b []byte) (*mapped, error) {
	next := func(n uint64) []byte {
		if n > uint64(len(b)) {
			b = nil
			return nil
		}
		first := b[:n]
		b = b[n:]
		return first
	}
	number := func(size uint64) (v uint64) {
		for i, d := range next(size) {
			v |= uint64(d) << (8 * i)
		}
		return v
	}
	next(6)
	next(number(1)) // the version
	m := &mapped{}
	for n := number(4); n > 0 && len(b) > 0; n-- {
		m.functions = append(m.functions, number(8))
	}
	m.sum = SumOf(next(number(8)))
	if sum := number(4); sum != uint64(m.sum) {
		return nil, errNoMap
	}
	if number(1) != 1 {
		return nil, errNoMap
	}
	for n := number(8); n > 0; n-- {
		if len(b) < 16 {
			return nil, errNoMap
		}
		m.places = append(m.places, [2]uint64{number(8), number(8)})
	}
	return m, nil
}
