package page

import (
	"bytes"
	"encoding/json"
	"strconv"
	"sync"
)

// frame is what there was to see at one time.
type frame struct {
	number int64  // from 1 on, without gaps
	head   []byte // the fields that every event has, without the brace at the end
	parts  []part

	fullOnce   sync.Once
	fullText   []byte
	changeOnce sync.Once
	changeText []byte
}

// part is a list of rows, of which an event has only those that are another than before.
type part struct {
	name    string
	all     [][]byte
	changed [][]byte
	gone    []string // keys of rows that are there no more
}

// text is the event for one who has had the frame of a number; 0: none. It is shared: nobody
// changes it.
func (f *frame) text(had int64) []byte {
	if had == f.number-1 && had > 0 {
		f.changeOnce.Do(func() { f.changeText = f.write("change", false) })
		return f.changeText
	}
	f.fullOnce.Do(func() { f.fullText = f.write("full", true) })
	return f.fullText
}

func (f *frame) write(event string, full bool) []byte {
	var b bytes.Buffer
	b.WriteString("event: " + event + "\nid: " + strconv.FormatInt(f.number, 10) + "\ndata: ")
	b.Write(f.head)
	for i := range f.parts {
		p := &f.parts[i]
		rows := p.changed
		if full {
			rows = p.all
		}
		b.WriteString(`,"` + p.name + `":[`)
		b.Write(bytes.Join(rows, []byte{','}))
		b.WriteByte(']')
		if !full && len(p.gone) > 0 {
			b.WriteString(`,"gone_` + p.name + `":`)
			b.Write(marshal(p.gone))
		}
	}
	b.WriteString("}\n\n")
	return b.Bytes()
}

// marshal writes what is known to be JSON, on one line.
func marshal(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		return []byte("null") // a figure that is no number: it is missing rather than the frame
	}
	return text
}

// figures is a row of a list.
type figures[R any] interface {
	// same reports whether it would be written as another.
	same(*R) bool
}

// rows are the last rows of a list, by key.
type rows[R figures[R]] struct {
	name string
	was  map[string]written[R]
	now  map[string]written[R]
	part part
}

// written is a row and its text.
type written[R any] struct {
	row  R
	text []byte
}

func newRows[R figures[R]](name string) *rows[R] {
	return &rows[R]{name: name, was: make(map[string]written[R]), now: make(map[string]written[R])}
}

// begin starts a list.
func (r *rows[R]) begin() {
	r.was, r.now = r.now, r.was
	clear(r.now)
	r.part = part{name: r.name, all: make([][]byte, 0, len(r.was)+1)}
}

// add gives it one more row, which is written if it is another than before. What it points to stays
// as it is.
func (r *rows[R]) add(key string, row *R) {
	old, ok := r.was[key]
	if !ok || !old.row.same(row) {
		old = written[R]{*row, marshal(row)}
		r.part.changed = append(r.part.changed, old.text)
	}
	r.now[key] = old
	r.part.all = append(r.part.all, old.text)
}

// end is the list.
func (r *rows[R]) end() part {
	for key := range r.was {
		if _, ok := r.now[key]; !ok {
			r.part.gone = append(r.part.gone, key)
		}
	}
	return r.part
}
