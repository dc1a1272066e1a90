package plugins

import (
	"encoding/binary"
	"slices"
	"strings"

	"bulkhead/plugins/internal/inside"
	"bulkhead/plugins/trace"
)

// Observer is told what guests of shape events do, for whoever tests them. It makes them slower;
// with Every much slower. It must not change while a runtime has it.
type Observer struct {
	// Called is told of each call of a guest's callback, when it is over. What an instance does
	// while it starts is not told. It is called on the instance's loop, and must not block.
	Called func(Call)
	// Every is how much fuel a guest uses, on average, from one look at its stack to the next; in
	// calls that use more than 1000 times as much it is a thousandth of what they have used. Zero
	// or less: nobody looks.
	Every int64
}

// Call is one call of a guest's callback.
type Call struct {
	Export string // such as "csa_data"
	// Peer is the other end of the connection that it was about; "": it was about none, or that has
	// no address.
	Peer string
	Fuel int64
	// Memory is how much linear memory the instance had in use when the call was over, in bytes.
	// That never shrinks, so it is the most up to then.
	Memory int
	// HostCalls are how often it has called each function of the host that it has called.
	HostCalls map[string]int
	// Stacks are where its fuel went, if Observer.Every says that this is looked at. Together they
	// have all of it.
	Stacks []Stack
}

// Stack is a stack of functions, and the fuel that was used with it.
type Stack struct {
	// Functions are named as their authors named them, as far as the module tells, the outermost
	// first. Of a script they are its own, with their lines, as the engine notes them when an event
	// takes long. None: nobody knows where it was.
	Functions []string
	Fuel      int64
}

// mostObserved is how many calls of a stack are looked at. Of a deeper one it is the innermost.
const mostObserved = 512

// looksPerLength is how often the stack of a long call is looked at while its fuel doubles, about.
const looksPerLength = 1000

// observing is what is known of the call that runs. It belongs to whoever runs the guest.
type observing struct {
	every     int64
	mark      int64 // what the executor had used when the call began
	looked    int64 // and when its stack was looked at last
	chance    uint32
	hostCalls map[string]int
	stacks    []Stack
	known     map[string]int // their places in stacks, by the key of stackNow
	functions *inside.Functions
}

// observe begins to watch a call.
func (i *Instance) observe() {
	u, o := &i.exec.use, i.module.runtime.options.Observer
	if o == nil || i.process != nil {
		u.seen = nil
		return
	}
	s := u.seen
	if s == nil {
		s = &observing{chance: 1}
		u.seen = s
	}
	s.every, s.hostCalls, s.stacks, s.known = o.Every, nil, nil, nil
	s.mark = u.granted - u.fuel.Left()
	s.looked = s.mark
	if s.every > 0 && i.state == running {
		u.next = s.untilNext()
		u.grant(u.next)
	}
}

// untilNext is how much fuel the guest gets up to the next look: between a half and one and a half
// times as much as there should be, since what comes around again would meet the same function each
// time otherwise. Of a long call it is more and more, or to look would take minutes.
func (s *observing) untilNext() int64 {
	s.chance = s.chance*1664525 + 1013904223
	every := max(s.every, (s.looked-s.mark)/looksPerLength)
	return max(1, every/2+int64(s.chance>>8)%(every+1))
}

func (s *observing) hostCall(name string) {
	if s.hostCalls == nil {
		s.hostCalls = make(map[string]int)
	}
	s.hostCalls[name]++
}

// look notes where the guest is, which calls the host. It returns how much fuel there is up to the
// next time; 0: nobody looks.
func (i *Instance) look() int64 {
	u := &i.exec.use
	s := u.seen
	if s.every <= 0 || i.state != running || i.exec.running.Function == nil {
		return 0
	}
	key, names, err := i.stackNow()
	if err != nil {
		return 0 // the engine is none that can be looked into
	}
	used := u.granted - u.fuel.Left()
	fuel := used - s.looked
	s.looked = used
	at, ok := s.known[key]
	if !ok {
		if s.known == nil {
			s.known = make(map[string]int)
		}
		at = len(s.stacks)
		s.known[key], s.stacks = at, append(s.stacks, Stack{Functions: names()})
	}
	s.stacks[at].Fuel += fuel
	return s.untilNext()
}

// stackNow is the guest's stack, as a key and as the names of functions, the outermost first. Of an
// interpreter it is its script's, as where has it.
func (i *Instance) stackNow() (key string, names func() []string, err error) {
	if i.exec.guest.ExportedGlobal(whereExport) != nil {
		where := i.where()
		return where, func() []string { return scriptCalls(where) }, nil
	}
	calls, err := inside.CallsOf(i.exec.running.Function, mostObserved)
	if err != nil {
		return "", nil, err
	}
	s := i.exec.use.seen
	if s.functions == nil {
		if s.functions, err = inside.FunctionsOf(i.exec.running.Function); err != nil {
			return "", nil, err
		}
	}
	var b []byte
	var numbers []int
	for _, at := range slices.Backward(calls.At) {
		if n, ok := s.functions.Number(at); ok {
			b, numbers = binary.AppendUvarint(b, uint64(n)), append(numbers, n)
		}
	}
	return string(b), func() (names []string) {
		for _, n := range numbers {
			names = append(names, trace.Name(s.functions.Name(n)))
		}
		return names
	}, nil
}

// scriptCalls are the calls of a text of where's, which is such as ", at f (x.js:1:2), at g
// (x.js:3:1)", the outermost first, by their lines: "g (x.js:3)", "f (x.js:1)".
func scriptCalls(where string) (names []string) {
	for one := range strings.SplitSeq(where, ", at ") {
		one = strings.Trim(one, ", ")
		if one == "" {
			continue
		}
		if inner, ok := strings.CutSuffix(one, ")"); ok {
			if parts := strings.Split(inner, ":"); len(parts) > 2 { // the column
				one = strings.Join(parts[:len(parts)-1], ":") + ")"
			}
		}
		names = append(names, one)
	}
	slices.Reverse(names)
	return names
}

// observed tells of a call that is over.
func (i *Instance) observed(c call) {
	u := &i.exec.use
	s, o := u.seen, i.module.runtime.options.Observer
	if o == nil || o.Called == nil || i.state != running {
		return
	}
	used := u.granted - u.fuel.Left()
	told := Call{Export: c.String(), Fuel: used - s.mark, Memory: i.Memory(), HostCalls: s.hostCalls, Stacks: s.stacks}
	if rest := used - s.looked; s.every > 0 && rest > 0 {
		told.Stacks = append(told.Stacks, Stack{Fuel: rest})
	}
	if i.about != nil {
		told.Peer = i.about.Peer()
	}
	s.hostCalls, s.stacks, s.known = nil, nil, nil
	o.Called(told)
}
