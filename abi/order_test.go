package abi

import (
	"strings"
	"testing"
)

const (
	o = EventOpen
	d = EventData
	w = EventWritable
	s = EventSecured
	m = EventMessage
	k = EventTimer
	e = EventEOF
	c = EventClosed
)

func TestOrder(t *testing.T) {
	for name, test := range map[string]struct {
		noOpen bool
		events []Event
		wrong  int // index of the first event that must not come; -1: none
	}{
		"all there is":                  {false, []Event{o, d, w, s, k, m, d, e, w, k, s, m, c}, -1},
		"opened and refused":            {false, []Event{o, c}, -1},
		"no end of sending":             {false, []Event{o, d, d, c}, -1},
		"data without open":             {false, []Event{d}, 0},
		"closed without open":           {false, []Event{c}, 0},
		"opened twice":                  {false, []Event{o, o}, 1},
		"opened late":                   {false, []Event{o, d, o}, 2},
		"data after the end":            {false, []Event{o, e, d}, 2},
		"two ends":                      {false, []Event{o, e, e}, 2},
		"open after the end":            {false, []Event{o, e, o}, 2},
		"closed twice":                  {false, []Event{o, c, c}, 2},
		"timer after closed":            {false, []Event{o, c, k}, 2},
		"data after closed":             {false, []Event{o, e, c, d}, 3},
		"an event that does not exist":  {false, []Event{o, Event(99)}, 1},
		"no csa_open":                   {true, []Event{d, w, e, c}, -1},
		"no csa_open, the end first":    {true, []Event{e, w, c}, -1},
		"no csa_open, and yet it came":  {true, []Event{o}, 0},
		"no csa_open, came later":       {true, []Event{d, o}, 1},
		"no csa_open, a timer first":    {true, []Event{k}, 0},
		"no csa_open, closed all alone": {true, []Event{c}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			order := Order{NoOpen: test.noOpen}
			closed := false
			for i, event := range test.events {
				before := order
				err := order.Step(event)
				if (err != nil) != (i == test.wrong) {
					t.Fatalf("%v at %d: %v", event, i, err)
				}
				closed = closed || err == nil && event == c
				if err != nil && (order != before || !strings.Contains(err.Error(), event.String())) {
					t.Errorf("%v: moved on, or does not name the event", err)
				}
			}
			if order.Done() != closed {
				t.Errorf("done is %v", order.Done())
			}
		})
	}
}

// A second reading of the grammar, as an expression, agrees with the machine on
// every sequence of up to six events.
func TestOrderIsTheGrammar(t *testing.T) {
	letters := "odwe c"
	events := map[byte]Event{'o': o, 'd': d, 'w': w, 'e': e, 'c': c}
	legal := func(seq string) bool { // a prefix of: o (d|w)* e? w* c
		if seq == "" {
			return true
		}
		if seq[0] != 'o' {
			return false
		}
		ended := false
		for i := 1; i < len(seq); i++ {
			switch seq[i] {
			case 'o':
				return false
			case 'd', 'e':
				if ended {
					return false
				}
				ended = seq[i] == 'e'
			case 'c':
				return i == len(seq)-1
			}
		}
		return true
	}
	var try func(seq string)
	try = func(seq string) {
		var order Order
		ok := true
		for i := 0; i < len(seq) && ok; i++ {
			ok = order.Step(events[seq[i]]) == nil
		}
		if ok != legal(seq) {
			t.Errorf("%q: the machine says %v", seq, ok)
		}
		if len(seq) < 6 && ok {
			for i := range letters {
				if letters[i] != ' ' {
					try(seq + letters[i:i+1])
				}
			}
		}
	}
	try("")
}

func FuzzOrder(f *testing.F) {
	f.Add(false, []byte{0, 1, 2, 6, 4, 7})
	f.Add(true, []byte{1, 6, 7, 7})
	f.Add(false, []byte{9, 255})
	f.Fuzz(func(t *testing.T, noOpen bool, events []byte) {
		order := Order{NoOpen: noOpen}
		closed := 0
		for _, b := range events {
			if order.Step(Event(b)) == nil && Event(b) == EventClosed {
				closed++
			}
			_ = Event(b).String()
		}
		if closed > 1 || order.Done() != (closed == 1) {
			t.Errorf("closed %d times, done %v", closed, order.Done())
		}
	})
}

// A handle that connect has returned may be closed without ever being open, and is
// like any other otherwise.
func TestOrderOfDialled(t *testing.T) {
	order := Order{Dialled: true}
	if err := order.Step(EventData); err == nil {
		t.Error("csa_data may come first")
	}
	if err := order.Step(EventClosed); err != nil || !order.Done() {
		t.Errorf("closed first: %v, done %v", err, order.Done())
	}
	order = Order{Dialled: true}
	for _, e := range []Event{EventOpen, EventData, EventSecured, EventEOF, EventClosed} {
		if err := order.Step(e); err != nil {
			t.Error(err)
		}
	}
	if err := (&Order{}).Step(EventClosed); err == nil {
		t.Error("one that was accepted may be closed without being opened")
	}
}
