package zoo

import (
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"regexp"
	"runtime"
	"slices"
	"testing"
	"time"

	"bulkhead/host"
	"bulkhead/host/config"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/wasm"
)

// unfit are modules that check refuses, and what it says of them.
var unfit = []struct {
	name  string
	guest func() []byte
	says  string
}{
	{"locals that would take gigabytes", func() []byte {
		m := w.New()
		m.FuncRaw("", ":", locals(1, 0xffffffff))
		return m.Bytes()
	}, "function 0: the code of a function has 4294967295 locals, and 50000 are the most .at byte 2."},
	{"locals that add up", func() []byte {
		m := w.New()
		m.FuncRaw("", ":", locals(20, 0x7fffffff))
		return m.Bytes()
	}, "function 0: .* locals, and 50000 are the most"},
	{"groups of locals without end", func() []byte {
		m := w.New()
		m.FuncRaw("", ":", number(0xfffffff0))
		return m.Bytes()
	}, "function 0: .*groups of locals"},
	{"a count of types", counted4G(1), "types.*at byte 10"},
	{"a count of imports", counted4G(2), "imports.*at byte 10"},
	{"a count of functions", counted4G(3), "functions.*at byte 10"},
	{"a count of tables", counted4G(4), "tables.*at byte 10"},
	{"a count of memories", counted4G(5), "memor.*at byte 10"},
	{"a count of globals", counted4G(6), "globals.*at byte 10"},
	{"a count of exports", counted4G(7), "exports.*at byte 10"},
	{"a start function that is not there", counted4G(8), "the start function.*at byte 10"},
	{"a count of element segments", counted4G(9), "element segments.*at byte 10"},
	{"a count of code", counted4G(10), "functions.*at byte 10"},
	{"a count of data segments", counted4G(11), "data segments.*at byte 10"},
	{"a count of data", counted4G(12), "data segments"},
	{"a count of parameters", section(1, 1, 0x60, 0xff, 0xff, 0xff, 0xff, 0x0f), "parameters.*at byte 12"},
	{"a count of elements", func() []byte {
		m := w.New()
		m.Table(1)
		m.Raw(9, slices.Concat([]byte{1, 0, 0x41, 0, 0x0b}, number(0xfffffff0)))
		return m.Bytes()
	}, "elements.*at byte 21"},
	{"a section that is longer than the file", func() []byte {
		return append(w.New().Bytes(), append([]byte{1}, number(0xfffffff0)...)...)
	}, "cut short"},
	{"a table of gigabytes", func() []byte {
		m := w.Echo()
		m.Table(0x7fffffff)
		return m.Bytes()
	}, "its tables have 2147483647 elements, and 262144 are the most .at byte"},
	{"a memory of gigabytes", func() []byte {
		m := w.Echo()
		m.HiddenMemory(65536)
		return m.Bytes()
	}, "declares at least 65536 pages of memory = 4 GiB; its tenant's memory is 4 MiB"},
	{"a memory that is larger than there are", func() []byte {
		m := w.Echo()
		m.HiddenMemory(0x7fffffff)
		return m.Bytes()
	}, "65536 is the most .at byte"},
	{"a shared memory", func() []byte {
		m := w.Echo()
		m.Raw(5, []byte{1, 3, 1, 2})
		return m.Bytes()
	}, "a memory is shared: a use of the proposal .threads..*at byte"},
	{"an imported memory", func() []byte {
		m := w.New()
		m.ImportRaw("env", "memory", 2, 0, 1)
		return m.Bytes()
	}, "imports the memory env.memory"},
	{"the fuel's name", func() []byte {
		m := w.Echo()
		m.Export("bulkhead.fuel", 3, m.Global('I', true, w.I64Const(0)))
		return m.Bytes()
	}, `"bulkhead.fuel" has a name that is the host's own.*at byte`},
	{"the refill", func() []byte {
		m := w.New()
		m.Import("bulkhead", "refill", ":")
		return m.Bytes()
	}, `imports "refill" of the module "bulkhead", which is the host's own.*at byte`},
	{"the fuel as a global beyond its own", func() []byte {
		m := w.Echo()
		m.Func("", ":", "", w.I64Const(1<<62), w.GlobalSet(0))
		return m.Bytes()
	}, "function 3: it uses the global 0, and there are 0 .at byte"},
	{"the refill as a function beyond its own", func() []byte {
		m := w.Echo()
		m.Func("", ":", "", w.Call(4))
		return m.Bytes()
	}, "function 3: it uses the function 4, and there are 4 .at byte"},
	{"deep nesting", func() []byte {
		m := w.Echo()
		m.Func("", ":", "", slices.Repeat([]byte{0x02, 0x40}, 100_000), slices.Repeat(w.End, 100_000))
		return m.Bytes()
	}, "function 3: it nests blocks 50001 deep, and 50000 are the most .at byte"},
	{"a giant function", func() []byte {
		m := w.Echo()
		m.Func("", ":", "", slices.Repeat(w.Nop, 2<<20))
		return m.Bytes()
	}, "has 20971.. bytes, and 1048576 are the most .at byte"},
	{"a giant br_table", func() []byte {
		m := w.Echo()
		m.Func("", ":", "", w.I32Const(0), w.BrTable(make([]int, 100_000)...))
		return m.Bytes()
	}, "function 3: it has 99999 labels of a br_table, and 65536 are the most .at byte"},
	{"a br_table that says it is giant", func() []byte {
		m := w.Echo()
		m.Func("", ":", "", w.I32Const(0), []byte{0x0e}, number(60_000))
		return m.Bytes()
	}, "function 3: it says that 60000 labels of a br_table follow, in 1 bytes .at byte"},
	{"an instruction that nobody knows", func() []byte {
		m := w.Echo()
		m.Func("", ":", "", []byte{0xff})
		return m.Bytes()
	}, "function 3: it has the unknown instruction 0xff .at byte"},
	{"an atomic instruction", func() []byte {
		m := w.Echo()
		m.Func("", ":", "", w.I32Const(0), w.I32Const(1), w.I64Const(-1), []byte{0xfe, 1, 2, 0}, w.Drop)
		return m.Bytes()
	}, "function 3: it .*threads.*at byte"},
	{"a start function that spins", func() []byte {
		m := w.Echo()
		m.Start(m.Func("", ":", "", w.Forever()))
		return m.Bytes()
	}, "the start function was stopped: it used more than " + spin.String() + " of CPU time in one event"},
	{"a start function that is a call tree", func() []byte {
		m := w.Echo()
		tree := callTree(m, nil)
		m.Start(m.Func("", ":", "", tree))
		return m.Bytes()
	}, "the start function was stopped: it used more than " + spin.String() + " of CPU time in one event"},
	{"a busy _initialize", starting("_initialize", ":", w.Forever()),
		"_initialize was stopped: it used more than " + spin.String() + " of CPU time in one event .*has to return, and it is called back for its connections"},
	{"a busy csa_start", starting("csa_start", ":i", w.Cat(w.Forever(), w.I32Const(0))),
		"csa_start was stopped: it used more than " + spin.String() + " of CPU time in one event"},
	{"a trap in csa_start", starting("csa_start", ":i", w.Unreachable), "csa_start trapped: unreachable"},
	{"recursion in csa_start", func() []byte {
		m := w.Echo()
		m.Func("csa_start", ":i", "", w.Call(3))
		return m.Bytes()
	}, "csa_start was stopped: (its stack grew to more than|its tenant has no memory left for its stack|it used more than)"},
	{"a busy csa_window", func() []byte {
		m := w.New()
		m.Memory(1)
		m.Func("csa_window", ":I", "", w.Forever(), w.I64Const(0))
		m.Func("csa_data", "ii:i", "", w.I32Const(0))
		return m.Bytes()
	}, "csa_window was stopped: it used more than " + spin.String() + " of CPU time in one event"},
}

// number is how the format writes n.
func number(n uint32) []byte { return binary.AppendUvarint(nil, uint64(n)) }

// locals is the code of a function with so many groups of so many i64 each.
func locals(groups int, each uint32) []byte {
	b := number(uint32(groups))
	for range groups {
		b = append(append(b, number(each)...), 0x7e)
	}
	return append(b, w.End...)
}

// counted4G is a module with one section, which says that it has 4 billion of what it
// is for.
func counted4G(id byte) func() []byte { return section(id, number(0xfffffff0)...) }

func section(id byte, content ...byte) func() []byte {
	return func() []byte { return append(w.New().Bytes(), w.Section(id, content)...) }
}

// starting is an echo with one more export.
func starting(name, signature string, body []byte) func() []byte {
	return func() []byte {
		m := w.Echo()
		m.Func(name, signature, "", body)
		return m.Bytes()
	}
}

// What is refused is refused soon, for little memory, with a reason that says
// where.
func TestUnfit(t *testing.T) {
	for _, u := range unfit {
		t.Run(u.name, func(t *testing.T) {
			a := &animal{guest: u.guest, tenant: `memory = "4MiB"`}
			l := newLineup(t, 1)
			l.add(a, "animal", "connection")
			cfg, err := config.Load(hosttest.WriteConfig(t, l.toml.String()))
			if err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			err = host.Check(cfg, host.Options{Log: slog.New(slog.DiscardHandler)})
			took := time.Since(began)
			runtime.ReadMemStats(&after)
			if err == nil || !regexp.MustCompile(u.says).MatchString(err.Error()) {
				t.Errorf("check says %v; want %s", err, u.says)
			}
			var all config.Errors
			if !errors.As(err, &all) || len(all) != 1 {
				t.Errorf("that is %d errors, not one line", len(all))
			}
			if took > patience {
				t.Errorf("it took %v", took)
			}
			size := len(u.guest())
			if used := after.TotalAlloc - before.TotalAlloc; used > uint64(16<<20+4*size) {
				t.Errorf("a module of %d bytes took %d bytes to refuse", size, used)
			}
		})
	}
}

// What is just below the bounds is for the compiler: it is taken or refused, and
// either way soon enough, and the host lives.
func TestBarelyFit(t *testing.T) {
	for name, guest := range map[string]func() []byte{
		"nesting": func() []byte {
			m := w.Echo()
			m.Func("", ":", "", slices.Repeat([]byte{0x02, 0x40}, wasm.MaxNesting/10), slices.Repeat(w.End, wasm.MaxNesting/10))
			return m.Bytes()
		},
		"a br_table": func() []byte {
			m := w.Echo()
			m.Func("", ":", "", w.I32Const(0), w.BrTable(make([]int, wasm.MaxBranches)...))
			return m.Bytes()
		},
		"locals": func() []byte {
			m := w.Echo()
			m.FuncRaw("", ":", locals(1, wasm.MaxLocals))
			return m.Bytes()
		},
		"a table": func() []byte {
			m := w.Echo()
			m.Table(wasm.MaxElements)
			return m.Bytes()
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLineup(t, 1)
			l.add(&animal{guest: guest}, "animal", "connection")
			h := hosttest.Serve(t, l.toml.String(), host.Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
			conn := hosttest.Dial(t, h.Addr("animal"))
			hosttest.Say(t, conn, "served")
			hosttest.Hear(t, conn, "served")
		})
	}
}
