// Package openmetrics writes metrics as text: Prometheus' format 0.0.4, and OpenMetrics 1.0.
//
//	e := openmetrics.NewEncoder(w, openmetrics.Negotiate(accept))
//	e.Begin(&family)
//	e.Int(labels, 7)
//	err := e.End()
//
// It keeps no figures: whoever has them says them at each scrape.
package openmetrics

import (
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is what the figures of a family are.
type Kind uint8

// The kinds.
const (
	Gauge     Kind = iota // goes up and down
	Counter               // only grows
	Histogram             // counts of times, by how long they are
	Info                  // 1, with labels that say something
)

// String is the kind's name in OpenMetrics.
func (k Kind) String() string { return [...]string{"gauge", "counter", "histogram", "info"}[k] }

// Family is a metric family: samples of one name and kind.
type Family struct {
	// Name is its name, which for a counter ends with "_total", for an info with "_info", and
	// before that with the unit, if it has one.
	Name string
	Kind Kind
	// Unit is a base unit, such as "seconds" or "bytes"; "": there is none.
	Unit string
	// Help is a sentence or two.
	Help string
}

// bare is the family's name as OpenMetrics has it.
func (f *Family) bare() string {
	switch f.Kind {
	case Counter:
		return strings.TrimSuffix(f.Name, "_total")
	case Info:
		return strings.TrimSuffix(f.Name, "_info")
	default:
		return f.Name
	}
}

// Check says what is wrong with the family's name, or nil.
func (f *Family) Check() error {
	bare := f.bare()
	switch {
	case !validName(f.Name):
		return errors.New(strconv.Quote(f.Name) + " is no name of a metric: it may have letters, digits and _, and begins with no digit")
	case f.Kind == Counter && bare == f.Name:
		return errors.New(f.Name + " is a counter, and does not end with _total")
	case f.Kind == Info && bare == f.Name:
		return errors.New(f.Name + " is an info, and does not end with _info")
	case f.Kind != Counter && strings.HasSuffix(f.Name, "_total"):
		return errors.New(f.Name + " is no counter, and ends with _total")
	case f.Unit != "" && !strings.HasSuffix(bare, "_"+f.Unit):
		return errors.New(f.Name + " does not end with its unit, " + f.Unit)
	case f.Unit != "" && f.Kind == Info:
		return errors.New(f.Name + " is an info, and has a unit")
	}
	return nil
}

func validName(s string) bool {
	for i, c := range []byte(s) {
		if c != '_' && (c|0x20 < 'a' || c|0x20 > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// Labels are those of a sample, as text: AppendLabel makes them. Nil: there are none.
type Labels []byte

// AppendLabel adds a label to others. Its name has to be valid, and another than theirs. In its
// value, what is no UTF-8 is replaced.
func AppendLabel(to Labels, name, value string) Labels {
	if len(to) > 0 {
		to = append(to, ',')
	}
	to = append(to, name...)
	to = append(to, '=', '"')
	to = appendEscaped(to, strings.ToValidUTF8(value, "\uFFFD"), true)
	return append(to, '"')
}

// appendEscaped escapes what would end a line or, with quotes, a value.
func appendEscaped(to []byte, s string, quotes bool) []byte {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\\':
			to = append(to, '\\', '\\')
		case c == '\n':
			to = append(to, '\\', 'n')
		case c == '"' && quotes:
			to = append(to, '\\', '"')
		default:
			to = append(to, c)
		}
	}
	return to
}

// flushAt is how much text is held before it is written.
const flushAt = 32 << 10

// Encoder writes families, each with its samples behind it. It is not for several goroutines.
type Encoder struct {
	w      io.Writer
	format Format
	err    error
	text   []byte
	family *Family
	begun  bool   // the family's head is written
	sample []byte // the name of its samples
}

// NewEncoder makes one that writes to w.
func NewEncoder(w io.Writer, format Format) *Encoder {
	e := &Encoder{text: make([]byte, 0, flushAt+4<<10)}
	e.Reset(w, format)
	return e
}

// Reset has it begin anew, and write to w.
func (e *Encoder) Reset(w io.Writer, format Format) {
	*e = Encoder{w: w, format: format, text: e.text[:0], sample: e.sample[:0]}
}

// Begin begins a family, whose samples follow. A family without samples is left out. One that was
// begun before must not come again. The Family has to stay as it is until the next one begins.
func (e *Encoder) Begin(f *Family) {
	e.family, e.begun = f, false
	e.sample = append(e.sample[:0], f.Name...)
}

// head writes what the family is.
func (e *Encoder) head() {
	e.begun = true
	f, name, kind := e.family, e.family.Name, e.family.Kind
	open := e.format == OpenMetrics
	if open {
		name = f.bare()
	} else if kind == Info {
		kind = Gauge // the text format knows no infos
	}
	e.comment("# HELP ", name)
	e.text = append(e.text, ' ')
	e.text = append(appendEscaped(e.text, f.Help, open), '\n')
	e.comment("# TYPE ", name)
	e.text = append(append(append(e.text, ' '), kind.String()...), '\n')
	if open && f.Unit != "" {
		e.comment("# UNIT ", name)
		e.text = append(append(append(e.text, ' '), f.Unit...), '\n')
	}
}

func (e *Encoder) comment(what, name string) {
	e.text = append(append(e.text, what...), name...)
}

// begin gives the text with a sample as far as its value.
func (e *Encoder) begin(suffix string, labels Labels) []byte {
	if !e.begun {
		e.head()
	}
	t := append(e.text, e.sample...)
	if suffix != "" {
		t = append(t, suffix...)
	}
	if len(labels) > 0 {
		t = append(t, '{')
		t = append(t, labels...)
		t = append(t, '}')
	}
	return append(t, ' ')
}

// end takes the text with a sample, and ends that.
func (e *Encoder) end(t []byte) {
	e.text = append(t, '\n')
	if len(e.text) >= flushAt {
		e.flush()
	}
}

func (e *Encoder) flush() {
	if e.err == nil && len(e.text) > 0 {
		_, e.err = e.w.Write(e.text)
	}
	e.text = e.text[:0]
}

// Int writes a sample.
func (e *Encoder) Int(labels Labels, v int64) {
	e.end(strconv.AppendInt(e.begin("", labels), v, 10))
}

// Float writes a sample.
func (e *Encoder) Float(labels Labels, v float64) {
	e.end(strconv.AppendFloat(e.begin("", labels), v, 'g', -1, 64))
}

// Seconds writes a sample.
func (e *Encoder) Seconds(labels Labels, d time.Duration) {
	e.end(appendSeconds(e.begin("", labels), d))
}

// Buckets are a histogram's upper bounds, rising, and the text of them. That of the last, which has
// none, is not among them.
type Buckets struct {
	bounds []time.Duration
	text   [2][][]byte // by Format: the label le, and the comma behind it
}

// NewBuckets makes them of their bounds.
func NewBuckets(bounds []time.Duration) *Buckets {
	b := &Buckets{bounds: slices.Clone(bounds)}
	for _, d := range bounds {
		s := string(appendSeconds(nil, d))
		b.text[Text] = append(b.text[Text], []byte(`le="`+s+`"`))
		if !strings.Contains(s, ".") {
			s += ".0" // as OpenMetrics wants it
		}
		b.text[OpenMetrics] = append(b.text[OpenMetrics], []byte(`le="`+s+`"`))
	}
	for i := range b.text {
		b.text[i] = append(b.text[i], []byte(`le="+Inf"`))
	}
	return b
}

// Histogram writes one: counts are those of each bucket alone, one more than there are bounds.
func (e *Encoder) Histogram(labels Labels, b *Buckets, counts []int64, sum time.Duration) {
	if !e.begun {
		e.head()
	}
	var n int64
	for i, le := range b.text[e.format] {
		n += counts[i]
		t := append(e.text, e.sample...)
		t = append(t, "_bucket{"...)
		if len(labels) > 0 {
			t = append(t, labels...)
			t = append(t, ',')
		}
		t = append(t, le...)
		t = append(t, '}', ' ')
		e.end(strconv.AppendInt(t, n, 10))
	}
	e.end(appendSeconds(e.begin("_sum", labels), sum))
	e.end(strconv.AppendInt(e.begin("_count", labels), n, 10))
}

// appendSeconds writes nanoseconds as seconds, without the rounding of a float.
func appendSeconds(to []byte, d time.Duration) []byte {
	ns := uint64(d)
	if d < 0 {
		to, ns = append(to, '-'), -ns
	}
	to = strconv.AppendUint(to, ns/1e9, 10)
	rest := ns % 1e9
	if rest == 0 {
		return to
	}
	var digits [10]byte
	digits[0] = '.'
	for i := 9; i > 0; i-- {
		digits[i] = byte('0' + rest%10)
		rest /= 10
	}
	n := len(digits)
	for digits[n-1] == '0' {
		n--
	}
	return append(to, digits[:n]...)
}

// End ends the text, and says what went wrong with writing it.
func (e *Encoder) End() error {
	if e.format == OpenMetrics {
		e.text = append(e.text, "# EOF\n"...)
	}
	e.flush()
	return e.err
}
