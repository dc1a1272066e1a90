package meter

import "bulkhead/plugins/wasm"

// MaxAhead is how many units a charge may pay for code that lies behind a
// condition, and may so pay for nothing when the way goes elsewhere.
const MaxAhead = 24

// MaxTail is how many units may be executed between the return of a call and the next check. What
// follows a call is not paid before it, but for MaxAhead units, and checks when it is more than
// this. Otherwise calls within calls could each pay at their entry for much that they do when they
// return, and nothing would check while all of them return.
const MaxTail = 64

// MaxTouches is how many instructions that reach into memory may be executed in a row, within a
// function, without a check, and twice that at most: each may be the first to touch a page, which
// takes a thousand times as long as it is charged. Between the return of a call and that of the
// function that made it, there is none without a check: a deep recursion could do it once for each
// of its calls while all of them return.
const MaxTouches = 32

// node is a stretch of code without a branch in or out, other than at its ends. Nodes
// are numbered in the order of the code, so that ways lead to higher numbers, but
// for those back to the head of a loop.
type node struct {
	cost  uint32 // of what this node pays
	ahead uint32 // the most that the nodes behind it want paid, as far as is known
	// account is the node that pays for what stands here: this one, or one that is
	// passed before it, as often, and from which all ways lead here.
	account int32
	head    bool // pays for itself whatever it costs: functions, loops, and what loops are left for
	falls   bool // goes on with the next node
	checks  bool // behind its charge
	calls   bool // ends with a call
	behind  bool // begins behind one

	looks   bool   // checks, whatever is charged
	parts   bool   // has a check inside
	touches uint32 // instructions that reach into memory, from its last check inside on
	first   uint32 // the same up to the first check inside, where it has one
	reach   uint32 // the most that are executed from here to the next check
	leaves  bool   // the function may return from here
	back    int32  // the most that are executed from here to its return, where no check is on the way; else -1

	here uint32 // the cost of what stands here, whoever pays for it
	tail uint32 // the most that is executed from here to the next check
}

// way is a branch forward, from a node to a label. Ways are in the order of their nodes.
type way struct{ from, label int32 }

// mark is a place in a body where what comes out differs from what went in.
type mark struct {
	at, end int32 // what is replaced, in the code
	kind    markKind
	arg     uint32
}

type markKind uint8

const (
	chargeNode     markKind = iota // what the node arg pays is charged
	chargeLoop                     // the same, of a loop without parameters
	renumberedCall                 // a call of the function arg, as it is now numbered
	renumberedRef                  // a ref.func of it
	helperCall                     // a call of the helper arg instead
	lookOnly                       // a check
	shortOpcode                    // the number of the vector instruction arg, in no more bytes than it takes
)

// frame is a block that is open.
type frame struct {
	op     wasm.Opcode
	live   bool   // it can be reached
	joined bool   // its end is reached other than from what stands before it
	start  int32  // the node in which it begins
	loop   int32  // the head of the innermost loop around what is behind its label; -1 for none
	label  int32  // of its end
	other  int32  // of an if: the label of what is done when the condition is not met
	escape int32  // the outermost block that is branched to from inside, 0 being the function
	before int    // how many calls have returned before it
	values uint32 // slots of what is carried to its label, or more
}

// firstVector is the first of the vector instructions, which come last.
const firstVector wasm.Opcode = 0xfd00

// nowhere is deeper than any block.
const nowhere = wasm.MaxBody

// analysis finds the nodes of one function after the other, and what they pay. Its
// slices are used again.
type analysis struct {
	w       *writer
	nodes   []node
	ways    []way
	labels  []int32 // the node of each label; -1 when nothing leads there
	marks   []mark
	frames  []frame
	now     int32 // the node in hand
	loop    int32 // the head of the innermost loop around it; -1 for none
	live    bool
	carried uint32 // the most slots of values that the branch in hand carries
	slots   uint32 // of the frame

	returns int // how many calls have been seen
}

// open begins a node, which pays for itself.
func (a *analysis) open() {
	a.now = int32(len(a.nodes))
	a.nodes = append(a.nodes, node{account: a.now})
}

// part begins a node that is come to on a condition.
func (a *analysis) part(at int) {
	a.open()
	a.mark(at)
}

// mark has the node in hand charged at a place.
func (a *analysis) mark(at int) {
	a.marks = append(a.marks, mark{int32(at), int32(at), chargeNode, uint32(a.now)})
}

// replace has something else stand for the instruction in hand.
func (a *analysis) replace(s *wasm.Instructions, kind markKind, arg uint32) {
	a.marks = append(a.marks, mark{int32(s.Start), int32(s.Next), kind, arg})
}

// shorten has the number of the vector instruction in hand written in as few bytes as
// it takes, where it has more: the engine takes the first for the whole.
func (a *analysis) shorten(s *wasm.Instructions) {
	r := wasm.Source{Bytes: s.Code, Next: s.Start + 1}
	n := r.U32()
	if shortest := 1 + int(n>>7); r.Next-s.Start-1 > shortest {
		a.marks = append(a.marks, mark{int32(s.Start + 1), int32(r.Next), shortOpcode, n})
	}
}

func (a *analysis) newLabel() int32 {
	a.labels = append(a.labels, -1)
	return int32(len(a.labels) - 1)
}

func (a *analysis) pay(units uint32) {
	a.nodes[a.nodes[a.now].account].cost += units
	a.nodes[a.now].here += units
}

// touch counts an instruction that reaches into memory, and puts a check before it where there were
// many since the last.
func (a *analysis) touch(at int) {
	n := &a.nodes[a.now]
	if n.touches == MaxTouches {
		if !n.parts {
			n.parts, n.first = true, n.touches
		}
		n.touches = 0
		a.marks = append(a.marks, mark{int32(at), int32(at), lookOnly, 0})
	}
	n.touches++
}

// touches reports whether an instruction reaches into memory, once.
func touches(op wasm.Opcode) bool {
	return op >= 0x28 && op <= 0x3e || op >= 0xfd00 && op <= 0xfd0b || op >= 0xfd54 && op <= 0xfd5d
}

// called begins a node behind a call of the module's own functions: what is called
// checks when it begins.
func (a *analysis) called(at int) {
	if !a.live {
		return
	}
	a.nodes[a.now].calls, a.nodes[a.now].falls = true, true
	a.part(at)
	a.nodes[a.now].behind = true
	a.returns++
}

// push opens a block whose parameters and results take so many slots.
func (a *analysis) push(op wasm.Opcode, values uint32) {
	a.payMoves(values)
	a.frames = append(a.frames, frame{op: op, live: a.live, start: a.now, loop: a.loop, label: -1, other: -1, escape: nowhere, before: a.returns, values: values})
}

// payMoves pays for values that are carried somewhere, when they are more than
// a compiler would have.
func (a *analysis) payMoves(slots uint32) {
	if a.live && slots > FreeMoves {
		a.pay((slots - FreeMoves) * MoveUnits)
	}
}

// branch is a way from the place in hand to a label.
func (a *analysis) branch(label uint32) {
	target := len(a.frames) - 1 - int(label)
	f := &a.frames[target]
	top := &a.frames[len(a.frames)-1]
	top.escape = min(top.escape, int32(target))
	a.carried = max(a.carried, f.values)
	if target == 0 {
		a.nodes[a.now].leaves = true
	}
	if f.op == wasm.OpLoop || target == 0 {
		return
	}
	f.joined = true
	if f.label < 0 {
		f.label = a.newLabel()
	}
	if f.loop != a.loop {
		// What is paid in a loop is paid in every turn, and what is behind it once.
		a.labels[f.label] = outside
	}
	a.ways = append(a.ways, way{a.now, f.label})
}

// outside marks a label that a loop is left for.
const outside = -2

// function finds the nodes of a body and the places in it that change. The node 0 is
// the entry. slots are those of the function's locals, results those of its results.
func (a *analysis) function(code []byte, slots, results uint32) error {
	a.nodes, a.ways, a.labels, a.marks, a.frames = a.nodes[:0], a.ways[:0], a.labels[:0], a.marks[:0], a.frames[:0]
	a.live, a.loop, a.slots = true, -1, slots
	a.open()
	a.nodes[0].head = true
	a.push(wasm.OpBlock, 0)
	a.frames[0].values = results
	s := wasm.Instructions{Code: code}
	for s.Step() {
		op := s.Op
		a.carried = 0
		made := uint32(valuesMade[slot(op)])
		cost := uint32(prices[slot(op)])
		if op == wasm.OpCall && s.X < a.w.imported {
			cost = HostCall
		}
		if a.live {
			a.pay(cost)
			if touches(op) {
				a.touch(s.Start)
			}
		}
		if op >= firstVector && s.Code[s.Start+1] >= 0x80 {
			a.shorten(&s)
		}
		switch op {
		case wasm.OpBlock:
			made = a.w.blockSlots(&s)
			a.push(op, made)
		case wasm.OpLoop:
			made = a.w.blockSlots(&s)
			a.push(op, made)
			if a.live {
				a.open()
				a.nodes[a.now].head, a.nodes[a.now].checks = true, true
				a.loop = a.now
				a.pay(Turn)
				a.mark(s.Next)
				if !a.w.takesValues(&s) {
					a.marks[len(a.marks)-1].kind = chargeLoop
				}
			}
		case wasm.OpIf:
			made = a.w.blockSlots(&s)
			a.push(op, made)
			if a.live {
				f := &a.frames[len(a.frames)-1]
				f.other = a.newLabel()
				a.ways = append(a.ways, way{a.now, f.other})
				a.nodes[a.now].falls = true
				a.part(s.Next)
			}
		case wasm.OpElse:
			f := &a.frames[len(a.frames)-1]
			f.op = op
			if a.live {
				f.joined = true
				if f.label < 0 {
					f.label = a.newLabel()
				}
				a.ways = append(a.ways, way{a.now, f.label})
			}
			if a.live = f.live; a.live {
				a.part(s.Next)
				a.labels[f.other] = a.now
				f.other = -1
			}
		case wasm.OpEnd:
			a.end(&s)
		case wasm.OpBr:
			if a.live {
				a.branch(s.X)
				a.payMoves(a.carried)
			}
			a.live = false
		case wasm.OpBrIf:
			if a.live {
				a.branch(s.X)
				a.payMoves(a.carried)
				a.nodes[a.now].falls = true
				a.part(s.Next)
			}
		case wasm.OpBrTable:
			if a.live {
				s.Labels(a.branch)
				a.payMoves(a.carried)
			}
			a.live = false
		case wasm.OpReturn:
			if a.live {
				a.branch(uint32(len(a.frames) - 1))
				a.payMoves(a.carried)
			}
			a.live = false
		case wasm.OpUnreachable:
			a.live = false
		case wasm.OpCall:
			t := a.w.m.FunctionType(s.X)
			made = valueSlots(t.Results)
			a.payMoves(valueSlots(t.Params) + made)
			if s.X >= a.w.imported {
				a.replace(&s, renumberedCall, s.X+1)
				a.called(s.Next)
			}
		case wasm.OpCallIndirect:
			t := a.w.m.Type(s.X)
			made = valueSlots(t.Results)
			a.payMoves(valueSlots(t.Params) + made)
			a.called(s.Next)
		case wasm.OpRefFunc:
			if s.X >= a.w.imported {
				a.replace(&s, renumberedRef, s.X+1)
			}
		case wasm.OpMemoryGrow, wasm.OpMemoryInit, wasm.OpMemoryCopy, wasm.OpMemoryFill,
			wasm.OpTableGrow, wasm.OpTableInit, wasm.OpTableCopy, wasm.OpTableFill:
			h, err := a.w.helper(operation{op, s.X, s.Y})
			if err != nil {
				return err
			}
			a.replace(&s, helperCall, h)
			a.called(s.Next)
		}
		if a.live {
			a.slots += made
		}
	}
	a.placePayments()
	return nil
}

// end closes a block. When only what stands before its end leads to it, that goes on.
// Else a node begins, which the node before the block pays for if all ways from there
// lead here, and no call is on them.
func (a *analysis) end(s *wasm.Instructions) {
	depth := int32(len(a.frames) - 1)
	f := a.frames[depth]
	a.frames = a.frames[:depth]
	if depth == 0 && a.live {
		a.nodes[a.now].leaves = true
	}
	if depth == 0 || !f.live {
		return
	}
	p := &a.frames[depth-1]
	p.escape = min(p.escape, f.escape)
	a.loop = f.loop
	if f.op == wasm.OpIf {
		f.joined = true // there is no else
	}
	switch {
	case !a.live && !f.joined:
		return
	case !f.joined && f.op != wasm.OpLoop:
		return
	}
	if a.live {
		a.nodes[a.now].falls = true
	}
	a.live = true
	a.part(s.Next)
	n := &a.nodes[a.now]
	if f.escape >= depth && f.before == a.returns {
		n.account = a.nodes[f.start].account
	}
	n.head = f.op == wasm.OpLoop
	if f.label >= 0 {
		n.head = n.head || a.labels[f.label] == outside
		a.labels[f.label] = a.now
	}
	if f.other >= 0 {
		a.labels[f.other] = a.now
	}
}

// placePayments decides where is paid. From the last node to the first, a node wants paid
// before it what it costs and the most that one of those behind it wants; where that is too
// much, it pays for itself, and wants nothing. Paid is then, on every way, at least
// what is executed, and no charge pays for more than MaxAhead units that are not.
func (a *analysis) placePayments() {
	ways := a.ways
	want := func(i int32) uint32 {
		n := &a.nodes[i]
		if n.head {
			return 0
		}
		return n.cost + n.ahead
	}
	for i := int32(len(a.nodes) - 1); i >= 0; i-- {
		n := &a.nodes[i]
		tail, reach, back := uint32(0), uint32(0), int32(-1)
		if n.leaves {
			back = 0
		}
		next := func(i int32) {
			n.ahead = max(n.ahead, want(i))
			if !a.nodes[i].checks && !a.nodes[i].looks {
				tail = max(tail, a.nodes[i].tail)
				reach = max(reach, a.nodes[i].reach)
				back = max(back, a.nodes[i].back)
			}
		}
		if n.falls {
			next(i + 1)
		}
		for len(ways) > 0 && ways[len(ways)-1].from == i {
			next(a.labels[ways[len(ways)-1].label])
			ways = ways[:len(ways)-1]
		}
		n.tail = n.here
		if !n.calls {
			n.tail += tail
		}
		if n.behind && n.tail > MaxTail {
			n.checks = true
		}
		if n.reach, n.back = n.touches, -1; !n.calls {
			n.reach += reach
			if back >= 0 {
				n.back = int32(n.touches) + back
			}
		}
		if n.parts {
			n.reach, n.back = n.first, -1
		}
		n.looks = n.reach > MaxTouches || n.behind && n.back > 0
		n.head = n.head || n.checks || n.cost+n.ahead > MaxAhead
	}
}

// frame is what the function pays for being called, beside its instructions.
func (a *analysis) frame() uint32 { return (a.slots+SlotsPerUnit-1)/SlotsPerUnit + Turn }

// charged is what the node of that number pays at its head.
func (a *analysis) charged(i uint32) uint64 {
	n := &a.nodes[i]
	if !n.head {
		return 0
	}
	return uint64(n.cost) + uint64(n.ahead)
}

// valueSlots is how many slots of 8 bytes values of these types take.
func valueSlots(types []wasm.ValueType) uint32 {
	n := uint32(len(types))
	for _, t := range types {
		if t == wasm.V128 {
			n++
		}
	}
	return n
}
