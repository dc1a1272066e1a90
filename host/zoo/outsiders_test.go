package zoo

import (
	"strings"

	"bulkhead/abi"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/wasi"
)

// outsiders reach for what is not theirs: memory beyond their own, and other
// guests' connections.
func outsiders() []animal {
	all := []animal{
		beyond(send, w.LocalGet(conn), nil),
		beyond(info, w.Cat(w.LocalGet(conn), w.I32Const(abi.InfoPeer)), nil),
		beyond(settings, nil, nil),
		beyond(random, nil, nil),
		beyond(logLine, w.I32Const(abi.LogInfo), nil),
		beyond(count, nil, w.I64Const(1)),
	}
	return append(all, animal{
		name:  "pointers beyond its memory for all of WASI",
		guest: func() []byte { return wildWASI() },
		modes: handlers,
		provoke: func(c *cage) {
			conn := c.tame()
			hosttest.Say(c.t, conn, "!")
			hosttest.Hear(c.t, conn, "!")
		},
	}, animal{
		name: "handles that were guessed",
		guest: func() []byte {
			return echo(func(m *w.Module, f []w.Func) []byte {
				guess := w.LocalGet(scratch)
				// It traps where a guess is answered as if it were right.
				denied := func(call ...[]byte) []byte {
					return w.Cat(w.Cat(call...), w.I32Const(-2), w.I32Ne, w.If(w.Unreachable))
				}
				return w.Cat(
					w.I32Const(3_000), w.LocalSet(scratch),
					w.Loop(
						// Its own is left out, and -1, which is the instance itself.
						w.LocalGet(scratch), w.LocalGet(conn), w.I32Ne, w.LocalGet(scratch), w.I32Const(-1), w.I32Ne, w.I32And,
						w.If(
							denied(guess, w.I32Const(abi.ShutdownMicroprocess), w.Call(f[0])),
							denied(guess, w.I32Const(0), w.Call(f[1])),
							denied(guess, w.I32Const(1), w.Call(f[2])),
							denied(guess, w.I32Const(abi.InfoPeer), w.I32Const(0), w.I32Const(64), w.Call(f[3])),
							denied(guess, w.I32Const(1), w.I32Const(0), w.Call(f[4])),
							denied(guess, w.I32Const(0), w.I32Const(1), w.Call(0))),
						w.LocalGet(scratch), w.I32Const(1), w.I32Sub, w.LocalTee(scratch), w.I32Const(-2_000), w.I32GtS, w.BrIf(0)))
			}, control, receive, want, info, timer).Bytes()
		},
		listener: "on_bad_data = \"log\"\nevent_timeout = \"5s\"",
		modes:    ownOnly,
		said:     "bad data to send.*a handle that it does not have",
		provoke: func(c *cage) {
			witness, guesser := c.tame(), c.tame()
			hosttest.Say(c.t, guesser, "!")
			hosttest.Hear(c.t, guesser, "!")
			hosttest.Say(c.t, witness, "and me?")
			hosttest.Hear(c.t, witness, "and me?")
		},
	}, animal{
		name: "a handle that was guessed, to send to",
		guest: func() []byte {
			return echo(just(w.I32Const(77), w.I32Const(0), w.I32Const(1), w.Call(0), w.Drop)).Bytes()
		},
		modes: ownOnly, said: `bad data to send.*code=INVALID`,
	}, animal{
		name: "a handle that is stale",
		guest: func() []byte {
			// Its connection is closed with nothing unsent, and used again behind that.
			return echo(func(m *w.Module, f []w.Func) []byte {
				m.Func("csa_closed", "ii:", "", w.LocalGet(0), w.I32Const(1), w.Call(f[0]), w.I32Const(-2), w.I32Ne, w.If(w.Unreachable))
				return w.Cat(
					w.LocalGet(conn), w.I32Const(abi.ShutdownMicroprocess), w.Call(f[0]), w.Drop,
					w.LocalGet(conn), w.I32Const(0), w.I32Const(1), w.Call(0), w.I32Const(-4), w.I32Ne, w.If(w.Unreachable))
			}, control).Bytes()
		},
		modes: handlers, said: "shutdownMicroprocess",
	})
}

// beyond passes a host function ranges that are not in the memory of one page.
// before and behind are what it takes besides.
func beyond(f imported, before, behind []byte) animal {
	return animal{
		name: "a pointer beyond its memory for " + f[0],
		guest: func() []byte {
			return echo(func(m *w.Module, fs []w.Func) []byte {
				at := w.Func(0)
				if len(fs) > 0 {
					at = fs[0]
				}
				// The first byte of what the client sends behind the '!' says which.
				var body []byte
				for i, r := range [][2]int32{{65536, 1}, {65535, 2}, {-1, 1}, {-1, 0x7fffffff}, {0, 0x7fffffff}, {0x7fffffff, 0x7fffffff}} {
					body = append(body, w.Cat(
						w.I32Const(w.WindowAt), w.I32Load8U(1), w.I32Const('a'+int32(i)), w.I32Eq,
						w.If(before, w.I32Const(r[0]), w.I32Const(r[1]), behind, w.Call(at), w.Drop))...)
				}
				return body
			}, others(f)...).Bytes()
		},
		modes: ownOnly, said: "trapped.*" + f[0] + " was given the .* bytes at 0x.*, which are not all inside its memory of 65536 bytes",
		counted: trapped,
		provoke: func(c *cage) {
			for _, which := range "abcdef" {
				conn := c.tame()
				hosttest.Say(c.t, conn, "!"+string(which))
				c.ends(conn)
			}
			c.until("each has trapped", func(now state) bool { return now.Traps == c.before.Traps+6 })
			c.tame()
		},
	}
}

// others are the imports beside send.
func others(f imported) []imported {
	if f == send {
		return nil
	}
	return []imported{f}
}

// wildWASI calls every function of WASI with nothing but ones, and with the greatest
// numbers that there are, and echoes when all have answered.
func wildWASI() []byte {
	m := w.New()
	toPeer := m.Import("csa_v1", "send", "iii:i")
	functions := wasi.Functions()
	var body []byte
	for _, f := range functions {
		if f.Name == "proc_exit" {
			continue
		}
		signature := letters(f.Params) + ":" + letters(f.Results)
		at := m.Import(wasi.Module, f.Name, signature)
		for _, v := range []int64{-1, 0x7fffffff, 65535, 1} {
			for _, p := range f.Params {
				if p == wasi.I64 {
					body = append(body, w.I64Const(v)...)
				} else {
					body = append(body, w.I32Const(int32(v))...)
				}
			}
			body = append(body, w.Call(at)...)
			body = append(body, times(len(f.Results), w.Drop)...)
		}
	}
	m.Memory(1)
	m.Func("csa_window", ":I", "", w.I64Const(w.Window(w.WindowAt, w.WindowSize)))
	m.Func("csa_data", "ii:i", "",
		w.I32Const(w.WindowAt), w.I32Load8U(0), w.I32Const('!'), w.I32Eq, w.If(body),
		w.LocalGet(0), w.I32Const(w.WindowAt), w.LocalGet(1), w.Call(toPeer))
	return m.Bytes()
}

func letters(types []wasi.Type) string {
	var s strings.Builder
	for _, t := range types {
		s.WriteByte("iI"[t])
	}
	return s.String()
}
