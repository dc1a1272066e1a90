package metertest

import (
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"testing"

	"github.com/tetratelabs/wazero/api"
)

// bulkModule has a function for each bulk operation, with the operation's own
// operands, on a memory of bulkPages and on two tables of bulkSlots. Segment 0 is
// short, segment 1 longer than two chunks of the meter.
func bulkModule() []byte {
	i32, i32x2, i32x3 := []byte{typeI32}, []byte{typeI32, typeI32}, []byte{typeI32, typeI32, typeI32}
	types := []signature{{nil, nil}, {i32, i32}, {i32x2, nil}, {i32x3, nil}, {i32, nil}}
	var functions, exports, bodies [][]byte
	add := func(name string, typ int, code ...byte) {
		exports = append(exports, export(name, 0, len(functions)))
		functions = append(functions, []byte{byte(typ)})
		params := []byte{0}
		for i := range types[typ].params {
			params = append(params, 0x20, byte(i))
		}
		bodies = append(bodies, list(concat(params, code, []byte{0x0b})))
	}
	add("memory.copy", 3, 0xfc, 10, 0, 0)
	add("memory.fill", 3, 0xfc, 11, 0)
	for segment := range byte(2) {
		add(fmt.Sprintf("memory.init %d", segment), 3, 0xfc, 8, segment, 0)
		add(fmt.Sprintf("data.drop %d", segment), 0, 0xfc, 9, segment)
	}
	add("memory.grow", 1, 0x40, 0)
	add("table.copy", 3, 0xfc, 14, 0, 0)
	add("table.copy between", 3, 0xfc, 14, 0, 1)
	add("table.fill", 2, 0x1a, 0xd0, typeExternref, 0x20, 1, 0xfc, 17, 0)
	add("table.init", 3, 0xfc, 12, 0, 2)
	add("elem.drop", 0, 0xfc, 13, 0)
	add("table.grow", 1, 0x1a, 0xd0, typeExternref, 0x20, 0, 0xfc, 15, 0)
	// What is in slot k of the table 0: table.set k, and whether table.get k is null.
	add("mark", 4, 0x20, 0, 0x25, 1, 0x26, 0)
	add("null", 1, 0x25, 0, 0xd1)
	add("null function", 1, 0x25, 2, 0xd1)

	table := func(t byte, most int) []byte { return append([]byte{t}, bounds(bulkSlots, most)...) }
	long := make([]byte, 150_000)
	for i := range long {
		long[i] = byte(i>>8) ^ byte(i*7)
	}
	b := []byte("\x00asm\x01\x00\x00\x00")
	var typeList [][]byte
	for _, t := range types {
		typeList = append(typeList, concat([]byte{0x60}, list(t.params), list(t.results)))
	}
	b = appendSection(b, 1, items(typeList))
	b = appendSection(b, 3, items(functions))
	b = appendSection(b, 4, items([][]byte{table(typeExternref, bulkSlots+5), table(typeExternref, -1), table(typeFuncref, -1)}))
	b = appendSection(b, 5, items([][]byte{bounds(bulkPages, bulkPages+3)}))
	exports = append(exports, export("memory", 2, 0))
	b = appendSection(b, 7, items(exports))
	b = appendSection(b, 9, items([][]byte{{1, 0, 3, 0, 1, 2}}))
	b = appendSection(b, 12, []byte{2})
	b = appendSection(b, 10, items(bodies))
	return appendSection(b, 11, items([][]byte{
		append([]byte{1}, list(long[:40])...), append([]byte{1}, list(long)...),
	}))
}

const bulkPages, bulkSlots = 4, 10

var hashSeed = maphash.MakeSeed()

// memoryHash is one of all of a memory.
func memoryHash(m api.Memory) uint64 {
	b, _ := m.Read(0, m.Size())
	return maphash.Bytes(hashSeed, b)
}

// TestBulkOperations runs each at all edges of what it works on: plain, metered, and with a
// refill at each check. What does not fit has to trap before it has done anything,
// however many chunks the meter makes of it.
func TestBulkOperations(t *testing.T) {
	const chunk, size = 64 << 10, bulkPages << 16
	places := []uint64{0, 1, 100, chunk - 1, chunk, chunk + 1, size - 2*chunk, size - chunk - 1, size - 1, size, size + 1, math.MaxUint32}
	lengths := []uint64{0, 1, 63, 64, chunk - 1, chunk, chunk + 1, 2 * chunk, 2*chunk + 1, 150_000, size, math.MaxUint32 - chunk, math.MaxUint32}
	slots := []uint64{0, 1, 2, bulkSlots - 1, bulkSlots, bulkSlots + 1, 1 << 16, math.MaxUint32}
	type call struct {
		name string
		args []uint64
	}
	var calls []call
	cross := func(name string, lists ...[]uint64) {
		all := [][]uint64{nil}
		for _, l := range lists {
			var longer [][]uint64
			for _, a := range all {
				for _, v := range l {
					longer = append(longer, append(slices.Clone(a), v))
				}
			}
			all = longer
		}
		for _, a := range all {
			calls = append(calls, call{name, a})
		}
	}
	cross("memory.init 1", []uint64{0}, []uint64{0}, []uint64{150_000})
	cross("memory.copy", places, places, lengths)
	cross("memory.fill", places, []uint64{7, 0x1ff}, lengths)
	cross("memory.init 0", places, []uint64{0, 1, 39, 40, 41, math.MaxUint32}, append([]uint64{39, 40, 41}, lengths...))
	cross("memory.init 1", places, []uint64{0, 1, chunk, 2 * chunk, 149_999, 150_000, math.MaxUint32}, lengths)
	cross("data.drop 0")
	cross("data.drop 1")
	for _, segment := range []string{"memory.init 0", "memory.init 1"} {
		cross(segment, []uint64{0, chunk, size}, []uint64{0, 1, chunk}, lengths)
	}
	for _, name := range []string{"table.copy", "table.copy between", "table.init"} {
		cross(name, slots, slots, slots)
		cross("null", slots)
		cross("null function", slots)
	}
	cross("elem.drop")
	cross("table.init", slots[:5], slots[:3], slots[:3])
	cross("table.fill", slots, slots)
	cross("table.grow", []uint64{0, 1, 2, 3, 1 << 20, math.MaxUint32})
	cross("memory.grow", []uint64{0, 1, 1, 2, 1, 65536, math.MaxUint32, 0})

	code := bulkModule()
	var all []*world
	var instances []api.Module
	for _, e := range engines(t) {
		p, err := e.compile(t.Context(), code)
		if err == nil {
			err = p.refused
		}
		if err != nil {
			t.Fatal(err)
		}
		defer p.close(t.Context())
		for _, w := range worlds(e) {
			m, err := w.instantiate(w.context(t.Context()), p)
			if err != nil {
				t.Fatal(err)
			}
			all, instances = append(all, w), append(instances, m)
		}
	}
	if raceDetector {
		calls = calls[:200] // the rest would only take longer
	}
	for _, c := range calls {
		var first outcome
		var hash uint64
		for i, w := range all {
			o, err := w.call(w.context(t.Context()), instances[i], c.name, c.args)
			if err != nil {
				t.Fatal(err)
			}
			h := memoryHash(instances[i].Memory())
			if i == 0 {
				first, hash = o, h
			}
			if o.trap != first.trap || !slices.Equal(o.results, first.results) {
				t.Fatalf("%s%v %s: %s, want %s", c.name, c.args, w.name, o, first)
			}
			if h != hash {
				t.Fatalf("%s%v leaves another memory behind %s", c.name, c.args, w.name)
			}
			if i == 1 {
				first.fuel = o.fuel
			} else if w.metered && o.fuel != first.fuel {
				t.Fatalf("%s%v: %d units of fuel %s, %d %s", c.name, c.args, o.fuel, w.name, first.fuel, all[1].name)
			}
		}
		if c.name == "memory.grow" && first.results[0] == math.MaxUint32 && first.fuel > 1<<10 {
			t.Errorf("%s%v fails and takes %d units", c.name, c.args, first.fuel)
		}
	}
}
