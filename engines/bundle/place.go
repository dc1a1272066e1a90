package bundle

// place is how far a text is read.
type place struct {
	text []byte
	at   int
	line int
	from int // where the line begins
}

// placeIn is the beginning of a text.
func placeIn(text []byte) place { return place{text: text, line: 1} }

// peek is the byte so many behind the one that comes next; 0 behind the end.
func (p *place) peek(n int) byte {
	if p.at+n < len(p.text) {
		return p.text[p.at+n]
	}
	return 0
}

// skip goes on by n bytes.
func (p *place) skip(n int) {
	for ; n > 0 && p.at < len(p.text); n-- {
		if p.text[p.at] == '\n' {
			p.line, p.from = p.line+1, p.at+1
		}
		p.at++
	}
}
