package config

import "strings"

// The TOML library tells where a syntax error is, but not where a good key
// stood. So the scanner goes over the text first and notes the line of every
// key, in a tree of the document's own shape. It understands as much of TOML
// as that needs and takes the rest on trust: whether the text is TOML is for
// the library to say.

// maxDepth is how deep keys, tables and arrays may be nested together. The
// library recurses and copies a key's whole path at each level, so that
// without a bound a file of a few hundred kilobytes could hold it for minutes.
const maxDepth = 32

// node is where one value of the document stands.
type node struct {
	line   int
	keys   map[string]*node // of a table
	items  []*node          // of an array, or of [[an array of tables]]
	tables bool             // items are [[tables]], so a header goes on in the last
	given  bool             // written out as a value or a header, not only implied by a longer key
}

// child returns the node of a table's key, made if need be.
func (n *node) child(key string, line int) *node {
	if c := n.keys[key]; c != nil {
		return c
	}
	if n.keys == nil {
		n.keys = make(map[string]*node)
	}
	c := &node{line: line}
	n.keys[key] = c
	return c
}

// at returns the node of key, or n itself when there is none, so that there is
// always a line to point at.
func (n *node) at(key string) *node {
	if c := n.keys[key]; c != nil {
		return c
	}
	return n
}

// item is at for the i-th item of an array.
func (n *node) item(i int) *node {
	if i < len(n.items) {
		return n.items[i]
	}
	return n
}

// duplicate is a key or a [table] that is given a second time.
type duplicate struct {
	line, first int
	implied     bool     // the first is a table that only a longer key implied
	path        []string // of a table
	key         string   // "" for a table
	comma       int      // where the comma before it is, in an inline table; else 0
	start, end  int      // its bytes, with its value, or with the keys under its header
}

// scan is one pass over a document.
type scan struct {
	src  string
	pos  int
	line int

	root       *node
	duplicates []duplicate
	tooDeep    bool // the pass ended at pos because of maxDepth

	// visit, when set, is given every key in document order, with its full
	// path, as toml.MetaData.Keys gives them. Only tests set it.
	visit func(path []string, line int)
}

// scanText goes over src. When ok is false, the pass ended at s.pos, on
// s.line: on something that is not TOML, or that is nested too deep.
func scanText(src string, visit func([]string, int)) (s *scan, ok bool) {
	s = &scan{src: src, line: 1, root: &node{line: 1}, visit: visit}
	s.pos = len(src) - len(strings.TrimPrefix(src, "\ufeff"))
	return s, s.document()
}

func (s *scan) document() bool {
	table, path := s.root, []string(nil)
	header := -1 // the duplicate whose keys are being read, if any
	for {
		s.blank(true)
		if header >= 0 && (s.pos >= len(s.src) || s.src[s.pos] == '[') {
			s.duplicates[header].end = s.pos
			header = -1
		}
		if s.pos >= len(s.src) {
			return true
		}
		if s.src[s.pos] == '[' {
			seen := len(s.duplicates)
			var ok bool
			if table, path, ok = s.header(); !ok {
				return false
			}
			if len(s.duplicates) > seen {
				header = seen
			}
		} else if !s.pair(table, path, 0) {
			return false
		}
		s.blank(false)
		if s.pos < len(s.src) && s.src[s.pos] != '\n' {
			return false
		}
	}
}

// header reads [a.b] or [[a.b]] and returns the table that the keys after it
// go to.
func (s *scan) header() (*node, []string, bool) {
	start, line := s.pos, s.line
	array := strings.HasPrefix(s.src[s.pos:], "[[")
	brackets := "]"
	if array {
		brackets = "]]"
	}
	s.pos += len(brackets)
	path, ok := s.key(0)
	if !ok || !strings.HasPrefix(s.src[s.pos:], brackets) {
		return nil, nil, false
	}
	s.pos += len(brackets)
	s.note(path, nil, line)

	n := s.root
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
		item := &node{line: line, given: true}
		c.items = append(c.items, item)
		return item, path, true
	case old != nil && old.given:
		s.duplicates = append(s.duplicates, duplicate{line: line, first: old.line, path: path, start: start, end: s.pos})
		// Its keys are no part of the document: they are looked over in a
		// table that nothing refers to.
		return &node{line: line}, path, true
	}
	c.line, c.given = line, true
	return c, path, true
}

// pair reads key = value into the table n, whose path is path. spare counts
// the levels above that have no key and so are not in the path: arrays and
// inline tables.
func (s *scan) pair(n *node, path []string, spare int) bool {
	start, line := s.pos, s.line
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
	value := &node{line: line, given: true}
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
		s.duplicates = append(s.duplicates, duplicate{line: line, first: old.line, implied: !old.given, key: strings.Join(parts, "."), start: start, end: s.pos})
	}
	return true
}

func (s *scan) note(path, parts []string, line int) {
	if s.visit != nil {
		s.visit(append(path[:len(path):len(path)], parts...), line)
	}
}

// value reads one value into n. The blanks before it are skipped.
func (s *scan) value(n *node, path []string, depth int) bool {
	s.spaces()
	if s.pos >= len(s.src) {
		return false
	}
	switch s.src[s.pos] {
	case '[':
		return s.array(n, path, depth+1)
	case '{':
		return s.inlineTable(n, path, depth+1)
	case '"', '\'':
		return s.text()
	}
	start := s.pos
	for s.pos < len(s.src) && (bareKeyByte(s.src[s.pos]) || strings.IndexByte("+.: \t", s.src[s.pos]) >= 0) {
		s.pos++
	}
	return s.pos > start
}

func (s *scan) array(n *node, path []string, depth int) bool {
	if s.tooDeep = depth > maxDepth; s.tooDeep {
		return false
	}
	s.pos++
	for {
		s.blank(true)
		if s.accept(']') {
			return true
		}
		item := &node{line: s.line, given: true}
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

func (s *scan) inlineTable(n *node, path []string, depth int) bool {
	if s.tooDeep = depth > maxDepth; s.tooDeep {
		return false
	}
	s.pos++
	comma := 0
	for {
		s.blank(true)
		if s.accept('}') {
			return true
		}
		start := s.pos
		if !s.pair(n, path, depth-len(path)) {
			return false
		}
		// A duplicate is never the first pair, so there is a comma before it,
		// which goes with it.
		if i := len(s.duplicates) - 1; i >= 0 && s.duplicates[i].start == start {
			s.duplicates[i].comma = comma
		}
		s.blank(true)
		if s.accept('}') {
			return true
		}
		comma = s.pos
		if !s.accept(',') {
			return false
		}
	}
}

// accept takes c if it comes next.
func (s *scan) accept(c byte) bool {
	if s.pos >= len(s.src) || s.src[s.pos] != c {
		return false
	}
	s.pos++
	return true
}

// spaces skips blanks within a line.
func (s *scan) spaces() {
	for s.pos < len(s.src) && (s.src[s.pos] == ' ' || s.src[s.pos] == '\t') {
		s.pos++
	}
}

// blank skips blanks and a comment; with lines, also line ends, and so any
// number of blank lines and comments.
func (s *scan) blank(lines bool) {
	for s.pos < len(s.src) {
		switch c := s.src[s.pos]; {
		case c == ' ' || c == '\t' || c == '\r':
			s.pos++
		case c == '#':
			end := strings.IndexByte(s.src[s.pos:], '\n')
			if end < 0 {
				s.pos = len(s.src)
				return
			}
			s.pos += end
		case c == '\n' && lines:
			s.pos++
			s.line++
		default:
			return
		}
	}
}
