package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"bulkhead/host/config/keylines"
	"bulkhead/internal/suggest"
)

// field is one key of a table: how it is read into a T and shown again. All
// that is said of a key, in errors and by WriteLimits, comes from here.
type field[T any] struct {
	name string
	// want says what may be written, completing "write ...".
	want string
	// required is an example of the key with a value, when it has to be given.
	required string
	// instead is a key that makes a required one unnecessary where it is given.
	instead string
	// from says where the value is from when it was not given; "" is "default".
	from string
	read func(t *T, v *value)
	// show gives the value in TOML. "" leaves the key out, and what begins
	// with '#' is a remark to print instead. raw is show of a listener's key also where it
	// means nothing.
	show, raw func(t *T) string

	columns
}

// value is one value of the file on its way into the Config.
type value struct {
	d    *decoder
	key  string
	want string
	v    any
	n    *keylines.Node
}

// bad reports the value; problem completes the sentence "key = value ...".
func (v *value) bad(problem string) {
	v.fault(&fault{problem, "write " + v.want})
}

// fault reports the value with a mend of its own.
func (v *value) fault(f *fault) {
	v.d.fail(v.n.Line, f.mend, "%s = %s %s", v.key, shown(v.v), f.problem)
}

// error is what fault would report.
func (v *value) error(f *fault) *Error {
	return &Error{File: v.d.file, Line: v.n.Line, What: fmt.Sprintf("%s = %s %s", v.key, shown(v.v), f.problem), Mend: f.mend}
}

// wrongType reports a value of another type than the key takes.
func (v *value) wrongType() { v.bad("is " + kind(v.v)) }

// str gives the value as text, or reports that it is none.
func (v *value) str() (string, bool) {
	s, ok := v.v.(string)
	if !ok {
		v.wrongType()
	}
	return s, ok
}

// with returns f with something more said of it.
func (f field[T]) with(change func(*field[T])) field[T] {
	change(&f)
	return f
}

// sizeField is a number of bytes from lo to hi: a whole number, or text with a unit.
func sizeField[T any, N int | int64](name string, lo, hi N, example string, at func(*T) *N) field[T] {
	return field[T]{
		name: name,
		want: fmt.Sprintf(`a size from %s to %s, like "%s"`, formatSize(int64(lo)), formatSize(int64(hi)), example),
		read: func(t *T, v *value) {
			var n int64
			switch x := v.v.(type) {
			case int64:
				n = x
			case string:
				var problem string
				if n, problem = parseSize(x); problem != "" {
					v.bad(problem)
					return
				}
			default:
				v.wrongType()
				return
			}
			if n < int64(lo) || n > int64(hi) {
				v.bad("is out of range")
				return
			}
			*at(t) = N(n)
		},
		show: func(t *T) string { return Quote(formatSize(int64(*at(t)))) },
	}
}

// rateField is a number of bytes a second from lo to hi.
func rateField[T any](name string, lo, hi int64, example string, at func(*T) *int64) field[T] {
	return field[T]{
		name: name,
		want: fmt.Sprintf(`a rate from %s/s to %s/s, like "%s"`, formatSize(lo), formatSize(hi), example),
		read: func(t *T, v *value) {
			s, ok := v.str()
			if !ok {
				return
			}
			n, problem := parseRate(s)
			switch {
			case problem != "":
				v.bad(problem)
			case n < lo || n > hi:
				v.bad("is out of range")
			default:
				*at(t) = n
			}
		},
		show: func(t *T) string { return Quote(formatSize(*at(t)) + "/s") },
	}
}

// durationField is a duration from lo to hi in steps of step. zero, when not
// "", says what "0s" stands for where that lies outside the range.
func durationField[T any](name string, lo, hi, step time.Duration, zero, example string, at func(*T) *time.Duration) field[T] {
	want := fmt.Sprintf(`a duration from %s to %s, like "%s"`, formatDuration(lo), formatDuration(hi), example)
	if zero != "" {
		want += fmt.Sprintf(`, or "0s" for %s`, zero)
	}
	return field[T]{
		name: name,
		want: want,
		read: func(t *T, v *value) {
			s, ok := v.str()
			if !ok {
				return
			}
			d, problem := parseDuration(s)
			switch {
			case problem != "":
				v.bad(problem)
			case d == 0 && zero != "":
				*at(t) = 0
			case d == 0 && lo > 0:
				v.bad("would be no limit, and there is no way to turn this one off")
			case d < lo || d > hi:
				v.bad("is out of range")
			case d%step != 0:
				v.bad("is finer than whole " + stepName(step))
			default:
				*at(t) = d
			}
		},
		show: func(t *T) string { return Quote(formatDuration(*at(t))) },
	}
}

// stepName names the two steps durations come in.
func stepName(step time.Duration) string {
	if step == time.Second {
		return "seconds"
	}
	return "milliseconds"
}

// intField is a whole number from lo to hi. zero, when not "", says what 0
// stands for.
func intField[T any](name string, lo, hi int, zero string, at func(*T) *int) field[T] {
	want := fmt.Sprintf("a whole number from %d to %d", lo, hi)
	note := ""
	if zero != "" {
		note = "0: " + zero
		want += " (" + note + ")"
	}
	return field[T]{
		name:    name,
		want:    want,
		columns: columns{note: note},
		read: func(t *T, v *value) {
			n, ok := v.v.(int64)
			switch {
			case !ok:
				v.wrongType()
			case n < int64(lo) || n > int64(hi):
				v.bad("is out of range")
			default:
				*at(t) = int(n)
			}
		},
		show: func(t *T) string { return strconv.Itoa(*at(t)) },
	}
}

// numberField is a number from lo to hi, with or without a point.
func numberField[T any](name string, lo, hi float64, at func(*T) *float64) field[T] {
	return field[T]{
		name: name,
		want: fmt.Sprintf("a number from %s to %s", formatNumber(lo), formatNumber(hi)),
		read: func(t *T, v *value) {
			var f float64
			switch x := v.v.(type) {
			case int64:
				f = float64(x)
			case float64:
				f = x
			default:
				v.wrongType()
				return
			}
			// Asked this way round, so that nan is out of range too.
			if !(f >= lo && f <= hi) {
				v.bad("is out of range")
				return
			}
			*at(t) = f
		},
		show: func(t *T) string { return formatNumber(*at(t)) },
	}
}

// boolField is true or false.
func boolField[T any](name string, at func(*T) *bool) field[T] {
	return field[T]{
		name: name,
		want: "true or false",
		read: func(t *T, v *value) {
			b, ok := v.v.(bool)
			if !ok {
				v.wrongType()
				return
			}
			*at(t) = b
		},
		show: func(t *T) string { return strconv.FormatBool(*at(t)) },
	}
}

func formatNumber(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// choiceField is one of a few words.
func choiceField[T any](name string, words []string, at func(*T) *string) field[T] {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	last := len(words) - 1
	want := strings.Join(quoted[:last], ", ") + " or " + quoted[last]
	return field[T]{
		name: name,
		want: want,
		read: func(t *T, v *value) {
			s, ok := v.str()
			switch {
			case !ok:
			case slices.Contains(words, s):
				*at(t) = s
			default:
				mend := "write " + want
				if n := suggest.Word(s, words); n != "" {
					mend = fmt.Sprintf("did you mean %q? Write %s", n, want)
				}
				v.fault(&fault{"is not one of its words", mend})
			}
		},
		show: func(t *T) string { return Quote(*at(t)) },
	}
}
