package metertest

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// script is a file of the test suite, as wast2json of wabt writes it.
type script struct {
	Commands []command `json:"commands"`
}

// command is one step of a script. Which fields are set depends on Type.
type command struct {
	Type       string  `json:"type"`
	Line       int     `json:"line"`
	Name       string  `json:"name"`        // of a module: $name, for later actions
	As         string  `json:"as"`          // what a module is registered as, for imports
	Filename   string  `json:"filename"`    // of a module's bytes
	ModuleType string  `json:"module_type"` // "binary", or "text", which nobody here reads
	Text       string  `json:"text"`        // of the trap that is expected
	Action     action  `json:"action"`
	Expected   []value `json:"expected"`
}

// action calls a function or reads a global.
type action struct {
	Type   string  `json:"type"`
	Module string  `json:"module"` // empty: the last one
	Field  string  `json:"field"`
	Args   []value `json:"args"`
}

// value is an argument or an expected result.
type value struct {
	Type  string `json:"type"`
	Lane  string `json:"lane_type"` // of a v128
	Value any    `json:"value"`     // a string, a list of strings, or nothing: any
}

// readScript reads one script. The modules it names are beside it.
func readScript(path string) (*script, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := new(script)
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Base(path), err)
	}
	return s, nil
}

// lane is one number that is passed or expected: a v128 has several.
type lane struct {
	bits  uint64
	width int    // in bits
	nan   string // "canonical" or "arithmetic": any such NaN
	float bool
	any   bool // nothing in particular is expected
}

// lanes splits v into its numbers.
func (v value) lanes() ([]lane, error) {
	kind, texts := v.Type, []string{}
	switch held := v.Value.(type) {
	case nil:
		if v.Type == "v128" {
			return nil, fmt.Errorf("a v128 without a value")
		}
		return []lane{{width: 64, any: true}}, nil
	case string:
		texts = append(texts, held)
	case []any:
		kind = v.Lane
		for _, h := range held {
			text, ok := h.(string)
			if !ok {
				return nil, fmt.Errorf("a lane that is no string: %v", h)
			}
			texts = append(texts, text)
		}
	}
	width, ok := map[string]int{
		"i8": 8, "i16": 16, "i32": 32, "i64": 64, "f32": 32, "f64": 64, "externref": 64, "funcref": 64,
	}[kind]
	if !ok {
		return nil, fmt.Errorf("a value of the unknown type %q", kind)
	}
	var lanes []lane
	for _, text := range texts {
		l := lane{width: width, float: kind[0] == 'f' && kind != "funcref"}
		nan, isNaN := strings.CutPrefix(text, "nan:")
		switch {
		case isNaN:
			l.nan = nan
		case text == "null":
		default:
			var err error
			if strings.HasPrefix(text, "-") { // wasm-tools writes integers as signed ones
				var signed int64
				signed, err = strconv.ParseInt(text, 10, width)
				l.bits = uint64(signed) & (math.MaxUint64 >> (64 - width))
			} else {
				l.bits, err = strconv.ParseUint(text, 10, width)
			}
			if err != nil {
				return nil, err
			}
			if kind == "externref" {
				l.bits++ // the engine's null is zero, the suite's zero is a reference
			}
		}
		lanes = append(lanes, l)
	}
	return lanes, nil
}

// stack is how the engine wants v: v128 as two words, all else as one.
func (v value) stack() ([]uint64, error) {
	lanes, err := v.lanes()
	if err != nil || v.Type != "v128" {
		if err == nil && (lanes[0].any || lanes[0].nan != "") {
			err = fmt.Errorf("an argument without a value: %+v", v)
		}
		if err != nil {
			return nil, err
		}
		return []uint64{lanes[0].bits}, nil
	}
	words := make([]uint64, 2)
	for i, l := range lanes {
		at := i * l.width
		words[at/64] |= l.bits << (at % 64)
	}
	return words, nil
}

// match takes from results what belongs to v, and reports whether it is as
// expected. It returns what is left.
func (v value) match(results []uint64) (rest []uint64, ok bool, err error) {
	words := 1
	if v.Type == "v128" {
		words = 2
	}
	if len(results) < words {
		return nil, false, fmt.Errorf("there are too few results")
	}
	lanes, err := v.lanes()
	if err != nil {
		return nil, false, err
	}
	ok = true
	for i, l := range lanes {
		at := i * l.width
		bits := results[at/64] >> (at % 64)
		if l.width < 64 {
			bits &= 1<<l.width - 1
		}
		ok = ok && l.matches(bits)
	}
	return results[words:], ok, nil
}

func (l lane) matches(bits uint64) bool {
	exponent, quiet := uint64(math.MaxUint32>>1&^(1<<23-1)), uint64(1<<22)
	if l.width == 64 {
		exponent, quiet = 0x7ff0_0000_0000_0000, 1<<51
	}
	// That of an expected NaN with a payload is not looked at: operators may
	// change it.
	isNaN := func(b uint64) bool { return b&exponent == exponent && b&(quiet<<1-1) != 0 }
	switch {
	case l.any:
		return true
	case l.nan == "canonical":
		return bits&(exponent|(quiet<<1-1)) == exponent|quiet
	case l.nan == "arithmetic":
		return bits&(exponent|quiet) == exponent|quiet
	case l.float && isNaN(l.bits):
		return isNaN(bits)
	}
	return bits == l.bits
}
