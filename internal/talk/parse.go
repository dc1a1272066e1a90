package talk

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"bulkhead/abi"
)

// Bounds of a file, so that a mistaken one takes no more memory than it should.
const (
	mostBytes = 16 << 20 // of a file
	// MostWait is how long a wait is at most.
	MostWait = 366 * 24 * time.Hour
)

// Error is what is wrong in a line of a file.
type Error struct {
	File string
	Line int
	What string
}

// Error begins with file and line, as editors read it.
func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.What) }

// Parse reads a file of conversations; name is what errors call it. It reads all of it before it
// reports, and returns an *Error for the first line that cannot be read.
func Parse(name string, data []byte) (*File, error) {
	if len(data) > mostBytes {
		return nil, &Error{name, 1, fmt.Sprintf("the file has %d bytes; a file of conversations has %d at most", len(data), mostBytes)}
	}
	p := &parser{file: &File{Name: name}, eol: "\r\n"}
	for n, line := range strings.Split(string(data), "\n") {
		p.line = n + 1
		if err := p.read(strings.TrimSuffix(line, "\r")); err != nil {
			return nil, &Error{name, p.line, err.Error()}
		}
	}
	if len(p.file.Cases) == 0 {
		return nil, &Error{name, 1, "there is no conversation: one begins with a line such as == a login"}
	}
	return p.file, nil
}

type parser struct {
	file    *File
	line    int
	at      *Case // nil before the first
	eol     string
	fileEOL string // what a case begins with
	config  []Setting
	alone   bool            // all cases are
	section bool            // in -- config.toml --
	parties map[string]bool // of the case, that a line may be of
	known   map[string]bool // captures of the case
}

var (
	party   = regexp.MustCompile(`^([a-z][a-z0-9_-]*)?([<>])(.*)$`)
	section = regexp.MustCompile(`^-- (\S+) --$`)
	naming  = regexp.MustCompile(`^[a-z][a-z0-9_-]*$`)
)

// read reads one line.
func (p *parser) read(line string) error {
	switch name, begins := strings.CutPrefix(line, "=="); {
	case begins:
		return p.begin(strings.TrimSpace(name))
	case section.MatchString(line):
		if file := section.FindStringSubmatch(line)[1]; file != "config.toml" {
			return fmt.Errorf("a file of conversations has no part %q; the one that it may have is -- config.toml --", file)
		}
		p.section = true
		return nil
	case p.section:
		if strings.TrimSpace(line) != "" {
			p.configure(line, false)
		}
		return nil
	case strings.HasPrefix(line, "#"):
		return nil
	case strings.TrimSpace(line) == "":
		p.stretch()
		return nil
	}
	defer p.last()
	if m := party.FindStringSubmatch(line); m != nil {
		if slices.Contains(words, m[1]) {
			return fmt.Errorf("%s is no name for a party, since other lines begin with it", m[1])
		}
		return p.bytes(m[1], m[2] == ">", m[3])
	}
	return p.word(strings.Fields(line), line)
}

func (p *parser) begin(name string) error {
	if name == "" {
		return fmt.Errorf("a conversation has a name: == a login")
	}
	if slices.ContainsFunc(p.file.Cases, func(c *Case) bool { return c.Name == name }) {
		return fmt.Errorf("there is a conversation %q already: each has a name of its own", name)
	}
	if p.at == nil {
		p.fileEOL = p.eol
	}
	p.section, p.eol = false, p.fileEOL
	p.parties, p.known = map[string]bool{}, map[string]bool{}
	p.at = &Case{Name: name, Line: p.line, Config: slices.Clone(p.config), Alone: p.alone}
	p.last()
	p.file.Cases = append(p.file.Cases, p.at)
	return nil
}

// last notes where the case ends so far.
func (p *parser) last() {
	if p.at != nil {
		p.at.Last, p.at.EOL = p.line, p.eol
	}
}

// configure adds a line of config to the case, or to all cases that follow.
func (p *parser) configure(toml string, alone bool) {
	s := Setting{p.line, toml, alone}
	if p.at == nil {
		p.config = append(p.config, s)
	} else {
		p.at.Config = append(p.at.Config, s)
	}
}

// stretch ends the stretch that is under way, if there is one.
func (p *parser) stretch() {
	if p.at == nil || len(p.at.Steps) == 0 {
		return
	}
	if last := p.at.Steps[len(p.at.Steps)-1].Kind; last == Send || last == Expect {
		p.at.Steps = append(p.at.Steps, Step{Line: p.line, Kind: Stretch})
	}
}

var errEarly = errors.New("this stands before the first conversation, which begins with a line such as == a login")

// add adds a step, of a party that is there.
func (p *parser) add(s Step) error {
	if p.at == nil {
		return errEarly
	}
	s.Line, s.EOL = p.line, p.eol
	p.at.Steps = append(p.at.Steps, s)
	return nil
}

// bytes reads what follows > or <.
func (p *parser) bytes(of string, sends bool, rest string) error {
	if p.at == nil {
		return errEarly
	}
	ends := map[string]Kind{"EOF": GetEOF, "RST": GetRST}
	if sends {
		ends = map[string]Kind{"EOF": SendEOF, "RST": SendRST}
	}
	if kind, ok := ends[strings.TrimRight(rest, " \t")]; ok {
		return p.add(Step{Kind: kind, Party: of})
	}
	if rest != "" && rest[0] != ' ' {
		return fmt.Errorf("after %s> or %s< comes a blank, EOF or RST", of, of)
	}
	rest = strings.TrimPrefix(rest, " ")
	s := Step{Kind: Expect, Party: of}
	if sends {
		s.Kind = Send
	}
	var err error
	switch source, isPattern := strings.CutPrefix(rest, "~ "); {
	case isPattern && !sends:
		if p.eol == "" {
			return fmt.Errorf("a pattern is for one line, and with eol none there are no lines: give the bytes, or set eol")
		}
		s.Pattern, err = p.pattern(source)
	case strings.HasPrefix(rest, `"`):
		if _, err := strconv.Unquote(rest); err != nil {
			return fmt.Errorf("%s is not a text in double quotes as Go writes it; a line that begins with a double quote is quoted as a whole", rest)
		}
		s.Text, err = p.text(rest[1:len(rest)-1], unquote)
	case isHex(rest):
		s.Text, err = hexText(rest[len("x "):], !sends)
	default:
		s.Text, err = p.text(rest, plain)
		s.Text = append(s.Text, Piece{Bytes: []byte(p.eol)})
	}
	if err != nil {
		return err
	}
	return p.add(s)
}

// isHex reports whether a line is x and bytes in hex, each two digits, or ?? for any.
func isHex(line string) bool {
	rest, ok := strings.CutPrefix(line, "x ")
	if !ok {
		return false
	}
	fields := strings.Fields(rest)
	for _, f := range fields {
		if len(f) != 2 || strings.Trim(f, "0123456789abcdefABCDEF") != "" && f != "??" {
			return false
		}
	}
	return len(fields) > 0
}

func hexText(line string, anyAllowed bool) (Text, error) {
	var t Text
	for _, f := range strings.Fields(line) {
		if f == "??" {
			if !anyAllowed {
				return nil, fmt.Errorf("?? is any byte that a party gets; what it sends is given")
			}
			t = append(t, Piece{Any: true})
			continue
		}
		b, err := strconv.ParseUint(f, 16, 8)
		if err != nil {
			return nil, err
		}
		if n := len(t); n > 0 && t[n-1].Bytes != nil {
			t[n-1].Bytes = append(t[n-1].Bytes, byte(b))
		} else {
			t = append(t, Piece{Bytes: []byte{byte(b)}})
		}
	}
	return t, nil
}

var capture = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

func plain(s string) (string, error)   { return s, nil }
func unquote(s string) (string, error) { return strconv.Unquote(`"` + s + `"`) }

// text cuts a text at the captured values in it; read reads what is between them.
func (p *parser) text(s string, read func(string) (string, error)) (Text, error) {
	var t Text
	at := 0
	add := func(piece string) error {
		piece, err := read(piece)
		if err == nil && piece != "" {
			t = append(t, Piece{Bytes: []byte(piece)})
		}
		return err
	}
	for _, m := range capture.FindAllStringSubmatchIndex(s, -1) {
		name := s[m[2]:m[3]]
		if !p.known[name] {
			return nil, fmt.Errorf("nothing before this captures ${%s}; a pattern does so by (?P<%s>...). In double quotes \\x24 is a $ that begins no capture", name, name)
		}
		if err := add(s[at:m[0]]); err != nil {
			return nil, err
		}
		t = append(t, Piece{Capture: name})
		at = m[1]
	}
	return t, add(s[at:])
}

func (p *parser) pattern(source string) (*Pattern, error) {
	parts, err := p.text(source, plain)
	if err != nil {
		return nil, err
	}
	pattern := &Pattern{source: source, parts: parts}
	re, err := pattern.compile(func(string) []byte { return nil })
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(parts, func(piece Piece) bool { return piece.Capture != "" }) {
		pattern.fixed = re
	}
	for _, name := range re.SubexpNames() {
		if name != "" {
			p.known[name] = true
		}
	}
	return pattern, nil
}

// words begin lines that are no party's, so no party is called so.
var words = []string{"alone", "config", "eol", "dial", "secured", "closed", "wait", "log", "count", "fuel"}

// word reads a line that begins with a word.
func (p *parser) word(f []string, line string) error {
	s := Step{}
	if len(f) > 1 && naming.MatchString(f[0]) && !slices.Contains(words, f[0]) && (f[1] == "closed" || f[1] == "secured") {
		s.Party, f = f[0], f[1:]
	}
	switch f[0] {
	case "config":
		rest := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "config"))
		if !strings.Contains(rest, "=") {
			return fmt.Errorf("config is followed by a key and its value in TOML: config greeting = \"hi\"")
		}
		if p.at != nil && len(p.at.Steps) > 0 {
			return fmt.Errorf("config stands before the first line of its conversation, since the handler starts with it")
		}
		p.configure(rest, true)
		return nil
	case "eol":
		ends := map[string]string{"crlf": "\r\n", "lf": "\n", "none": ""}
		if len(f) == 2 {
			if eol, ok := ends[f[1]]; ok {
				p.eol = eol
				return nil
			}
		}
		return fmt.Errorf("eol is crlf, lf or none: what ends a line that stands without quotes")
	case "alone":
		if len(f) != 1 {
			return fmt.Errorf("alone stands alone: no other client is connected while the conversation is played")
		}
		if p.at == nil {
			p.alone = true
		} else {
			p.at.Alone = true
		}
		return nil
	case "closed":
		s.Kind = Closed
		if len(f) != 2 || !isCode(f[1]) {
			return fmt.Errorf("closed is followed by the code with which the connection ends, one of %s", codes())
		}
		s.Code = f[1]
	case "secured":
		s.Kind = Secured
		if len(f) > 2 || len(f) == 2 && !isCode(f[1]) {
			return fmt.Errorf("secured stands alone, or before the code with which the handshake fails, one of %s", codes())
		}
		if len(f) == 2 {
			s.Code = f[1]
		}
	case "dial":
		return p.dial(f)
	case "wait":
		d, err := time.Duration(0), error(nil)
		if len(f) == 2 {
			d, err = time.ParseDuration(f[1])
		}
		if len(f) != 2 || err != nil || d <= 0 || d > MostWait {
			return fmt.Errorf("wait is followed by a time such as 30s, 200ms or 1h, of a year at most")
		}
		s.Kind, s.Wait = Wait, d
	case "log":
		text := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "log"))
		if text == "" {
			return fmt.Errorf("log is followed by a text that a line of the handler's log has")
		}
		s.Kind = Log
		var err error
		if s.Text, err = p.text(text, plain); err != nil {
			return err
		}
	case "count":
		if len(f) != 3 {
			return fmt.Errorf("count is followed by a name and a number: count frames 3")
		}
		n, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("count %s is followed by a number that is not negative", f[1])
		}
		s.Kind, s.Name, s.Number = Count, f[1], n
	case "fuel":
		n, ok := fuel(f)
		if !ok {
			return fmt.Errorf("fuel is followed by < and a number, which may end in k or M: fuel < 200k")
		}
		s.Kind, s.Number = Fuel, n
	default:
		return fmt.Errorf("%s begins no line of a conversation: a line begins with ==, >, <, # or one of %s", f[0], strings.Join(words, ", "))
	}
	return p.add(s)
}

// dial reads: dial ADDRESS as NAME, or dial ADDRESS CODE.
func (p *parser) dial(f []string) error {
	s := Step{Kind: Dial}
	switch {
	case len(f) == 4 && f[2] == "as" && naming.MatchString(f[3]):
		s.Address, s.As = f[1], f[3]
	case len(f) == 3 && isCode(strings.ToUpper(f[2])) && !strings.EqualFold(f[2], "ok"):
		s.Address, s.Code = f[1], strings.ToUpper(f[2])
	default:
		return fmt.Errorf("dial is followed by the address that the handler dials and either \"as\" and a name, or how that fails: dial tcp://db:5432 as db, dial tcp://db:5432 refused")
	}
	if s.As != "" {
		if slices.Contains(words, s.As) {
			return fmt.Errorf("%s is no name for a party, since other lines begin with it", s.As)
		}
		if p.parties[s.As] {
			return fmt.Errorf("%s has been dialled before: each connection of a conversation has a name of its own", s.As)
		}
		if p.parties != nil {
			p.parties[s.As] = true
		}
	}
	return p.add(s)
}

// fuel reads < NUMBER with k or M behind it.
func fuel(f []string) (int64, bool) {
	text := strings.Join(f[1:], "")
	text, ok := strings.CutPrefix(text, "<")
	if !ok {
		return 0, false
	}
	unit := int64(1)
	if digits, is := strings.CutSuffix(text, "k"); is {
		text, unit = digits, 1000
	} else if digits, is := strings.CutSuffix(text, "M"); is {
		text, unit = digits, 1000_000
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 || n > 1<<62/unit {
		return 0, false
	}
	return n * unit, true
}

func isCode(s string) bool {
	return slices.ContainsFunc(abi.Codes, func(c abi.CodeDoc) bool { return c.Name == s })
}

func codes() string {
	var names []string
	for _, c := range abi.Codes {
		names = append(names, c.Name)
	}
	return strings.Join(names, ", ")
}
