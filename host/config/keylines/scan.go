// Package keylines notes on which line each key of a TOML document stands,
// which the TOML library keeps to itself.
package keylines

import "strings"

// The TOML library tells where a syntax error is, but not where a good key
// stood. So the scanner goes over the text first and notes the line of every
// key, in a tree of the document's own shape. It understands as much of TOML
// as that needs and takes the rest on trust: whether the text is TOML is for
// the library to say.

// MaxDepth is how deep keys, tables and arrays may be nested together. The
// library recurses and copies a key's whole path at each level, so that
// without a bound a file of a few hundred kilobytes could hold it for minutes.
const MaxDepth = 32

// Node is where one value of the document stands.
type Node struct {
	// Line is the first line of the key, or of the array's item.
	Line   int
	keys   map[string]*Node // of a table
	items  []*Node          // of an array, or of [[an array of tables]]
	tables bool             // items are [[tables]], so a header goes on in the last
	given  bool             // written out as a value or a header, not only implied by a longer key
}

// ListOf is a node whose only item is n, for a table that stands where a list
// of tables was to be.
func ListOf(n *Node) *Node { return &Node{Line: n.Line, items: []*Node{n}} }

// child returns the node of a table's key, made if need be.
func (n *Node) child(key string, line int) *Node {
	if c := n.keys[key]; c != nil {
		return c
	}
	if n.keys == nil {
		n.keys = make(map[string]*Node)
	}
	c := &Node{Line: line}
	n.keys[key] = c
	return c
}

// At returns the node of key, or n itself when there is none, so that there is
// always a line to point at.
func (n *Node) At(key string) *Node {
	if c := n.keys[key]; c != nil {
		return c
	}
	return n
}

// Item is At for the i-th item of an array.
func (n *Node) Item(i int) *Node {
	if i < len(n.items) {
		return n.items[i]
	}
	return n
}

// Duplicate is a key or a [table] that is given a second time.
type Duplicate struct {
	Line, First int      // of this one and of the first
	Path        []string // of a table
	Key         string   // "" for a table

	implied    bool // the first is a table that only a longer key implied
	comma      int  // where the comma before it is, in an inline table; else 0
	start, end int  // its bytes, with its value, or with the keys under its header
}

// Scan is one pass over a document.
type Scan struct {
	// Root is the document's own table.
	Root *Node
	// Duplicates are in the order of the document.
	Duplicates []Duplicate
	// Pos and Line are where the pass ended.
	Pos, Line int
	// TooDeep says that it ended there because of MaxDepth.
	TooDeep bool

	src string
	// visit, when set, is given every key in document order, with its full
	// path, as toml.MetaData.Keys gives them. Only tests set it.
	visit func(path []string, line int)
}

// Text goes over a document. ok is false when the pass ended before the text
// did: on something that is not TOML, or that is nested too deep. Nothing in
// src makes it panic, and its time grows with the length of src alone. src has
// to be UTF-8.
func Text(src string) (s *Scan, ok bool) { return scanText(src, nil) }

func scanText(src string, visit func([]string, int)) (s *Scan, ok bool) {
	s = &Scan{src: src, Line: 1, Root: &Node{Line: 1}, visit: visit}
	s.Pos = len(src) - len(strings.TrimPrefix(src, "\ufeff"))
	return s, s.document()
}

// WithoutDuplicates is the document with the duplicates' bytes made blanks, so
// that every other byte stays on its line.
func (s *Scan) WithoutDuplicates() string {
	if len(s.Duplicates) == 0 {
		return s.src
	}
	b := []byte(s.src)
	for _, dup := range s.Duplicates {
		if dup.comma > 0 {
			b[dup.comma] = ' '
		}
		for i := dup.start; i < dup.end; i++ {
			if b[i] != '\n' && b[i] != '\r' {
				b[i] = ' '
			}
		}
	}
	return string(b)
}

func (s *Scan) document() bool {
	table, path := s.Root, []string(nil)
	header := -1 // the duplicate whose keys are being read, if any
	for {
		s.blank(true)
		if header >= 0 && (s.Pos >= len(s.src) || s.src[s.Pos] == '[') {
			s.Duplicates[header].end = s.Pos
			header = -1
		}
		if s.Pos >= len(s.src) {
			return true
		}
		if s.src[s.Pos] == '[' {
			seen := len(s.Duplicates)
			var ok bool
			if table, path, ok = s.header(); !ok {
				return false
			}
			if len(s.Duplicates) > seen {
				header = seen
			}
		} else if !s.pair(table, path, 0) {
			return false
		}
		s.blank(false)
		if s.Pos < len(s.src) && s.src[s.Pos] != '\n' {
			return false
		}
	}
}

// header reads [a.b] or [[a.b]] and returns the table that the keys after it
// go to.
func (s *Scan) header() (*Node, []string, bool) {
	start, line := s.Pos, s.Line
	array := strings.HasPrefix(s.src[s.Pos:], "[[")
	brackets := "]"
	if array {
		brackets = "]]"
	}
	s.Pos += len(brackets)
	path, ok := s.key(0)
	if !ok || !strings.HasPrefix(s.src[s.Pos:], brackets) {
		return nil, nil, false
	}
	s.Pos += len(brackets)
	s.note(path, nil, line)

	n := s.Root
	for _, part := range path[:len(path)-1] {
		n = n.child(part, line)
		if n.tables && len(n.items) > 0 {
			n = n.items[len(n.items)-1]
		}
	}
	last := path[len(path)-1]
	old := n.keys[last]
	c := n.child(last, line)
	switch {
	case array:
		c.tables, c.given = true, true
		item := &Node{Line: line, given: true}
		c.items = append(c.items, item)
		return item, path, true
	case old != nil && old.given:
		s.Duplicates = append(s.Duplicates, Duplicate{Line: line, First: old.Line, Path: path, start: start, end: s.Pos})
		// Its keys are no part of the document: they are looked over in a
		// table that nothing refers to.
		return &Node{Line: line}, path, true
	}
	c.Line, c.given = line, true
	return c, path, true
}

// pair reads key = value into the table n, whose path is path. spare counts
// the levels above that have no key and so are not in the Path: arrays and
// inline tables.
func (s *Scan) pair(n *Node, path []string, spare int) bool {
	start, line := s.Pos, s.Line
	parts, ok := s.key(len(path) + spare)
	if !ok || !s.accept('=') {
		return false
	}
	s.note(path, parts, line)

	for _, part := range parts[:len(parts)-1] {
		n = n.child(part, line)
	}
	last := parts[len(parts)-1]
	old := n.keys[last]
	value := &Node{Line: line, given: true}
	if old == nil {
		n.child(last, line)
		n.keys[last] = value
	}
	full := append(path[:len(path):len(path)], parts...)
	if !s.value(value, full, len(full)+spare) {
		return false
	}
	if old != nil {
		// That is so as well where the first was only implied, as by a.b
		// before a. The library then lets the second pass, and ignores it.
		s.Duplicates = append(s.Duplicates, Duplicate{Line: line, First: old.Line, implied: !old.given, Key: strings.Join(parts, "."), start: start, end: s.Pos})
	}
	return true
}

func (s *Scan) note(path, parts []string, line int) {
	if s.visit != nil {
		s.visit(append(path[:len(path):len(path)], parts...), line)
	}
}

// value reads one value into n. The blanks before it are skipped.
func (s *Scan) value(n *Node, path []string, depth int) bool {
	s.spaces()
	if s.Pos >= len(s.src) {
		return false
	}
	switch s.src[s.Pos] {
	case '[':
		return s.array(n, path, depth+1)
	case '{':
		return s.inlineTable(n, path, depth+1)
	case '"', '\'':
		return s.text()
	}
	start := s.Pos
	for s.Pos < len(s.src) && (bareKeyByte(s.src[s.Pos]) || strings.IndexByte("+.: \t", s.src[s.Pos]) >= 0) {
		s.Pos++
	}
	return s.Pos > start
}

func (s *Scan) array(n *Node, path []string, depth int) bool {
	if s.TooDeep = depth > MaxDepth; s.TooDeep {
		return false
	}
	s.Pos++
	for {
		s.blank(true)
		if s.accept(']') {
			return true
		}
		item := &Node{Line: s.Line, given: true}
		n.items = append(n.items, item)
		if !s.value(item, path, depth) {
			return false
		}
		s.blank(true)
		if s.accept(']') {
			return true
		}
		if !s.accept(',') {
			return false
		}
	}
}

func (s *Scan) inlineTable(n *Node, path []string, depth int) bool {
	if s.TooDeep = depth > MaxDepth; s.TooDeep {
		return false
	}
	s.Pos++
	comma := 0
	for {
		s.blank(true)
		if s.accept('}') {
			return true
		}
		start := s.Pos
		if !s.pair(n, path, depth-len(path)) {
			return false
		}
		// A duplicate is never the first pair, so there is a comma before it,
		// which goes with it.
		if i := len(s.Duplicates) - 1; i >= 0 && s.Duplicates[i].start == start {
			s.Duplicates[i].comma = comma
		}
		s.blank(true)
		if s.accept('}') {
			return true
		}
		comma = s.Pos
		if !s.accept(',') {
			return false
		}
	}
}

// accept takes c if it comes next.
func (s *Scan) accept(c byte) bool {
	if s.Pos >= len(s.src) || s.src[s.Pos] != c {
		return false
	}
	s.Pos++
	return true
}

// spaces skips blanks within a line.
func (s *Scan) spaces() {
	for s.Pos < len(s.src) && (s.src[s.Pos] == ' ' || s.src[s.Pos] == '\t') {
		s.Pos++
	}
}

// blank skips blanks and a comment; with lines, also line ends, and so any
// number of blank lines and comments.
func (s *Scan) blank(lines bool) {
	for s.Pos < len(s.src) {
		switch c := s.src[s.Pos]; {
		case c == ' ' || c == '\t' || c == '\r':
			s.Pos++
		case c == '#':
			end := strings.IndexByte(s.src[s.Pos:], '\n')
			if end < 0 {
				s.Pos = len(s.src)
				return
			}
			s.Pos += end
		case c == '\n' && lines:
			s.Pos++
			s.Line++
		default:
			return
		}
	}
}
