package sourcemap

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func mapOf(mappings string, sources ...string) []byte {
	b, err := json.Marshal(map[string]any{"version": 3, "sources": sources, "mappings": mappings})
	if err != nil {
		panic(err)
	}
	return b
}

func TestPlaces(t *testing.T) {
	for _, c := range []struct {
		mappings string
		want     []Place
	}{
		{"", nil},
		{";;;,,;", nil},
		{"AAAA", []Place{{1, 1, 0, 1, 1}}},
		{"A", nil}, // it was written nowhere
		{"AAAAA", []Place{{1, 1, 0, 1, 1}}},
		{";;EACG,IAEA;ADDF", []Place{{3, 3, 0, 2, 4}, {3, 7, 0, 4, 4}, {4, 1, -1, 3, 2}}},
		{"gBAAoC", []Place{{1, 17, 0, 1, 37}}},
		{"AAAA,C,CCCC", []Place{{1, 1, 0, 1, 1}, {1, 3, 1, 2, 2}}},
	} {
		m, err := Parse(mapOf(c.mappings, "a.ts", "b.ts"))
		if len(c.want) > 0 && c.want[len(c.want)-1].File < 0 {
			if err == nil {
				t.Errorf("%q has a source before the first, and is read", c.mappings)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(m.Places, c.want) {
			t.Errorf("%q: %v, %v, want %v", c.mappings, m, err, c.want)
		}
	}
}

func TestMapsThatCannotBeRead(t *testing.T) {
	for _, b := range []string{
		"", "{", "[]", `{"version": 2, "sources": [], "mappings": ""}`, `{"version": 3, "sources": {}}`,
		`{"version": 3, "sections": [], "mappings": 7}`,
		string(mapOf("AAAA")),                    // of no source
		string(mapOf("AA", "a")),                 // two numbers
		string(mapOf("AAA", "a")),                // three
		string(mapOf("AAAAAA", "a")),             // six
		string(mapOf("D", "a")),                  // before the first column
		string(mapOf("ADAA", "a")),               // a source before the first
		string(mapOf("ACAA", "a")),               // behind the last
		string(mapOf("AADA", "a")),               // a line before the first
		string(mapOf("AAAD", "a")),               // a column before the first
		string(mapOf("g", "a")),                  // half a number
		string(mapOf("A*AA", "a")),               // no digit
		string(mapOf("ggggggggA", "a")),          // a number without end
		string(mapOf("AAgggggC,AAggggggC", "a")), // beyond any line
		string(mapOf("EAAA,DAAA", "a")),          // out of order
		string(mapOf("A", make([]string, 1<<17)...)),
		string(mapOf(strings.Repeat("AAAA,", 1<<19+1), "a")),
	} {
		if m, err := Parse([]byte(b)); err == nil {
			t.Errorf("%.60s is read: %d places", b, len(m.Places))
		}
	}
}

// Names go into logs, so they have no control characters and an end.
func TestNamesOfSources(t *testing.T) {
	m, err := Parse(mapOf("AAAA", "a\x1b[31m\n\x00.ts", strings.Repeat("é", 300)+".ts", "é"))
	if err != nil {
		t.Fatal(err)
	}
	if m.Sources[0] != "a?[31m??.ts" || m.Sources[2] != "é" {
		t.Errorf("%q", m.Sources)
	}
	if n := m.Sources[1]; len(n) > maxName || !utf8.ValidString(n) || !strings.HasSuffix(n, "é.ts") {
		t.Errorf("%q", n)
	}
}

// readTable is a table as an engine reads it.
func readTable(b []byte) (places []Place, sources []string, err error) {
	if len(b) < 8 {
		return nil, nil, fmt.Errorf("it has %d bytes", len(b))
	}
	n, files := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
	b = b[8:]
	if uint64(n)*placeSize > uint64(len(b)) {
		return nil, nil, fmt.Errorf("%d places in %d bytes", n, len(b))
	}
	for ; n > 0; n-- {
		places = append(places, Place{
			binary.LittleEndian.Uint32(b), uint32(binary.LittleEndian.Uint16(b[4:])),
			int(binary.LittleEndian.Uint16(b[6:])), binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[12:]),
		})
		b = b[placeSize:]
	}
	for ; files > 0; files-- {
		name, rest, ok := strings.Cut(string(b), "\x00")
		if !ok {
			return nil, nil, fmt.Errorf("a name has no end")
		}
		sources, b = append(sources, name), []byte(rest)
	}
	if len(b) > 0 {
		return nil, nil, fmt.Errorf("%q is behind it", b)
	}
	return places, sources, nil
}

// at is where a place was written, by the last that is not behind it and on its line.
func at(places []Place, line, column uint32) (p Place, ok bool) {
	for _, q := range places {
		if q.Line == line && q.Column <= column {
			q.WasColumn += column - q.Column
			q.Column = column
			p, ok = q, true
		}
	}
	return p, ok
}

// The table leaves places out that follow from others, and still says the same of each.
func TestTable(t *testing.T) {
	// The second follows from the first; the third is of another column, the last of another file.
	m, err := Parse(mapOf("AAAA,EAAE,EAAA;AAAA,ECAA", "a.ts", "lib/b.ts"))
	if err != nil {
		t.Fatal(err)
	}
	b := m.Table(1000)
	places, sources, err := readTable(b)
	if err != nil || len(places) != 4 || !reflect.DeepEqual(sources, m.Sources) {
		t.Fatalf("%v %q %v", places, sources, err)
	}
	for _, p := range m.Places {
		if got, _ := at(places, p.Line, p.Column); got != p {
			t.Errorf("%v became %v", p, got)
		}
	}
	if exact := m.Table(len(b)); len(exact) != len(b) {
		t.Errorf("within its own %d bytes it has %d", len(b), len(exact))
	}
	// With less room each line has one place, and then there is none.
	places, _, err = readTable(m.Table(len(b) - 1))
	if err != nil || !reflect.DeepEqual(places, []Place{{1, 1, 0, 1, 1}, {2, 1, 0, 1, 3}}) {
		t.Errorf("%v %v", places, err)
	}
	for _, most := range []int{len(b) - 3*placeSize, 8, 0, -1} {
		if got := m.Table(most); got != nil {
			t.Errorf("within %d bytes: %q", most, got)
		}
	}
	if got := (&Map{Sources: []string{"a"}}).Table(1000); got != nil {
		t.Errorf("without a place: %q", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(mapOf("AAAA,EAAE,EAAA;AAAA,ECAA", "a.ts", "lib/b.ts"), 1000)
	f.Add(mapOf(";;gBAAoC", "\x1b\n"), 30)
	f.Add([]byte(`{"version":3,"sources":["a"],"mappings":"ggggggggA"}`), 0)
	f.Fuzz(func(t *testing.T, b []byte, most int) {
		m, err := Parse(b)
		if err != nil {
			return
		}
		for _, s := range m.Sources {
			if len(s) > maxName || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("a source is called %q", s)
			}
		}
		for i, p := range m.Places {
			if p.File < 0 || p.File >= len(m.Sources) || p.Line == 0 || p.Column == 0 || p.WasLine == 0 || p.WasColumn == 0 {
				t.Errorf("%v of %d sources", p, len(m.Sources))
			}
			if i > 0 && (p.Line < m.Places[i-1].Line || p.Line == m.Places[i-1].Line && p.Column < m.Places[i-1].Column) {
				t.Errorf("%v is behind %v", p, m.Places[i-1])
			}
		}
		table := m.Table(most)
		if table == nil {
			return
		}
		places, sources, err := readTable(table)
		if err != nil || len(table) > most || len(places) == 0 || len(sources) != len(m.Sources) {
			t.Fatalf("%d bytes of %d: %v", len(table), most, err)
		}
		if places, _, err = readTable(m.Table(1 << 30)); err != nil || len(m.Places) > 500 {
			return
		}
		for i, p := range m.Places {
			if i+1 < len(m.Places) && m.Places[i+1].Line == p.Line && m.Places[i+1].Column == p.Column || p.Column > math.MaxUint16 {
				continue // the last of the same column counts
			}
			if got, _ := at(places, p.Line, p.Column); got != p {
				t.Errorf("%v became %v", p, got)
			}
		}
	})
}

func FuzzCut(f *testing.F) {
	f.Add([]byte("export default {}"), []byte("{}"))
	f.Add([]byte("\n"+comment), []byte(comment))
	f.Fuzz(func(t *testing.T, script, sourceMap []byte) {
		before := string(script)
		Cut(script)
		got, gotMap := Cut(Append(script, sourceMap))
		if strings.TrimSuffix(string(got), "\n") != strings.TrimSuffix(before, "\n") || string(gotMap) != string(sourceMap) {
			t.Errorf("%q and %q became %q and %q", before, sourceMap, got, gotMap)
		}
	})
}
