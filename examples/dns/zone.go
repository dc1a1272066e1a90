package main

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// The types of records that are known here (RFC 1035, section 3.2.2, and others).
const (
	typeA     = 1
	typeNS    = 2
	typeCNAME = 5
	typeSOA   = 6
	typeHINFO = 13
	typeMX    = 15
	typeTXT   = 16
	typeAAAA  = 28
	typeOPT   = 41
	typeIXFR  = 251
	typeAXFR  = 252
	typeANY   = 255
)

var types = map[string]uint16{"A": typeA, "NS": typeNS, "CNAME": typeCNAME, "SOA": typeSOA, "MX": typeMX, "TXT": typeTXT, "AAAA": typeAAAA}

// maxChain is how many aliases may follow one another.
const maxChain = 8

// zone is what there is to answer from. Names are kept as messages have them, in lower
// case: each label behind its length, then a 0.
type zone struct {
	apex  string
	nodes map[string][]record // with every name that exists, those without records too
	soa   record              // with the TTL of "there is no such thing"
}

type record struct {
	kind uint16
	ttl  uint32
	data string // as messages have it, without compression
}

// newZone reads the zone's records.
func newZone(apex string, ttl uint32, lines []string) (*zone, error) {
	z := &zone{nodes: make(map[string][]record)}
	var err error
	if z.apex, err = wireName(apex, "\x00"); err != nil || z.apex == "\x00" {
		return nil, errors.New("zone = " + strconv.Quote(apex) + ` is no name; write it as "example.com"`)
	}
	for i, line := range lines {
		if err := z.add(line, ttl); err != nil {
			return nil, errors.New("records: number " + strconv.Itoa(i+1) + ", " + strconv.Quote(line) + ": " + err.Error())
		}
	}
	return z, z.check()
}

// add takes one line.
func (z *zone) add(line string, ttl uint32) error {
	words, err := split(line)
	if err != nil {
		return err
	}
	if len(words) < 3 {
		return errors.New("a record is a name, perhaps a TTL, a type and its data")
	}
	name, err := z.name(words[0])
	if err != nil {
		return err
	}
	words = words[1:]
	if n, err := strconv.ParseUint(words[0], 10, 31); err == nil {
		ttl, words = uint32(n), words[1:]
	}
	if strings.EqualFold(words[0], "IN") {
		words = words[1:]
	}
	if len(words) == 0 {
		return errors.New("it has no type")
	}
	kind, ok := types[strings.ToUpper(words[0])]
	if !ok {
		return errors.New(strconv.Quote(words[0]) + " is no type that is served; there is A, AAAA, CNAME, MX, NS, SOA and TXT")
	}
	data, err := z.data(kind, words[1:])
	if err != nil {
		return err
	}
	start, ok := within(name, z.apex)
	switch {
	case !ok:
		return errors.New("the name is not in the zone")
	case (kind == typeNS || kind == typeSOA) && start > 0:
		return errors.New("NS and SOA belong to @ alone; zones below this one are not served")
	case kind == typeCNAME && start == 0:
		return errors.New("@ cannot be an alias, as it has other records")
	}
	for _, r := range z.nodes[name] {
		switch {
		case r.kind == kind && r.data == data:
			return errors.New("it is there twice")
		case r.kind == kind && kind == typeSOA:
			return errors.New("a zone has one SOA")
		case r.kind == typeCNAME || kind == typeCNAME:
			return errors.New("an alias has no other records")
		case r.kind == kind && r.ttl != ttl:
			return errors.New("records of one name and type have one TTL")
		}
	}
	z.nodes[name] = append(z.nodes[name], record{kind, ttl, data})
	// The names above exist as well, if only because of this one.
	for above := name; above != z.apex; {
		above = above[1+above[0]:]
		if _, known := z.nodes[above]; !known {
			z.nodes[above] = nil
		}
	}
	return nil
}

// data writes a record's data as messages have it.
func (z *zone) data(kind uint16, words []string) (string, error) {
	wants := map[uint16]int{typeMX: 2, typeSOA: 7}[kind]
	if wants == 0 {
		wants = 1
	}
	if len(words) != wants && (kind != typeTXT || len(words) == 0) {
		return "", errors.New("its data is of " + strconv.Itoa(wants) + " words, as in a zone file")
	}
	switch kind {
	case typeA, typeAAAA:
		a, err := netip.ParseAddr(words[0])
		if err != nil || a.Zone() != "" || a.Is4() != (kind == typeA) {
			return "", errors.New(strconv.Quote(words[0]) + " is not an address of this type")
		}
		return string(a.AsSlice()), nil
	case typeTXT:
		data := ""
		for _, w := range words {
			if len(w) > 255 {
				return "", errors.New("a text is longer than 255 bytes; write it as several, each in quotes")
			}
			data += string([]byte{byte(len(w))}) + w
		}
		return data, nil
	case typeMX:
		n, err := strconv.ParseUint(words[0], 10, 16)
		if err != nil {
			return "", errors.New(strconv.Quote(words[0]) + " is no preference; that is a number to 65535")
		}
		host, err := z.name(words[1])
		return string(binary.BigEndian.AppendUint16(nil, uint16(n))) + host, err
	case typeSOA:
		server, err1 := z.name(words[0])
		mailbox, err2 := z.name(words[1])
		data := []byte(server + mailbox)
		for _, w := range words[2:] {
			n, err := strconv.ParseUint(w, 10, 32)
			if err != nil {
				return "", errors.New(strconv.Quote(w) + " is no number of 32 bits")
			}
			data = binary.BigEndian.AppendUint32(data, uint32(n))
		}
		return string(data), errors.Join(err1, err2)
	}
	return z.name(words[0])
}

// check looks at the zone as a whole.
func (z *zone) check() error {
	servers := 0
	for _, r := range z.nodes[z.apex] {
		switch r.kind {
		case typeNS:
			servers++
		case typeSOA:
			z.soa = r
			minimum := binary.BigEndian.Uint32([]byte(r.data[len(r.data)-4:]))
			z.soa.ttl = min(r.ttl, minimum) // RFC 2308, section 5
		}
	}
	if servers == 0 || z.soa.kind == 0 {
		return errors.New(`records: a zone has a SOA and an NS: "@ SOA ns1 hostmaster 1 7200 3600 1209600 300", "@ NS ns1"`)
	}
	for name := range z.nodes {
		at := name
		for n := 0; ; n++ {
			r, ok := z.alias(at)
			if !ok {
				break
			}
			if n == maxChain {
				return errors.New("records: the alias " + text(name) + " leads in a circle, or through more than " + strconv.Itoa(maxChain) + " others")
			}
			at = r.data
		}
	}
	return nil
}

// alias is the CNAME of a name.
func (z *zone) alias(name string) (record, bool) {
	if node := z.nodes[name]; len(node) == 1 && node[0].kind == typeCNAME {
		return node[0], true
	}
	return record{}, false
}

// name is a name as records have it: @, in the zone, or with a final dot.
func (z *zone) name(s string) (string, error) {
	if s == "@" {
		return z.apex, nil
	}
	if full, ok := strings.CutSuffix(s, "."); ok {
		return wireName(full, "\x00")
	}
	return wireName(s, z.apex)
}

// wireName writes "a.b" as a message has it, with tail behind it. "" is the tail
// alone.
func wireName(s, tail string) (string, error) {
	var b []byte
	if s != "" {
		for label := range strings.SplitSeq(strings.ToLower(s), ".") {
			if label == "" || len(label) > 63 {
				return "", errors.New(strconv.Quote(s) + " is no name: what is between two dots has 1 to 63 bytes")
			}
			for _, c := range []byte(label) {
				if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
					return "", errors.New(strconv.Quote(s) + " is no name: it consists of letters, digits, - and _")
				}
			}
			b = append(append(b, byte(len(label))), label...)
		}
	}
	b = append(b, tail...)
	if len(b) > 255 {
		return "", errors.New(strconv.Quote(s) + " is longer than a name may be")
	}
	return string(b), nil
}

// text is a name for people.
func text(name string) string {
	s := ""
	for name[0] != 0 {
		s += name[1:1+name[0]] + "."
		name = name[1+name[0]:]
	}
	return s
}

// within reports whether name is apex or below it, and where apex begins in it. It
// goes by labels: the bytes of one could look like several.
func within(name, apex string) (start int, ok bool) {
	for start < len(name) && len(name)-start > len(apex) {
		start += 1 + int(name[start])
	}
	return start, start <= len(name) && name[start:] == apex
}

// split takes a line apart at blanks, outside of quotes. In quotes \" is a quote.
func split(line string) (words []string, err error) {
	word, open, quoted := "", false, false // quoted: also "" is a word
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case open && c == '\\' && i+1 < len(line):
			i++
			word += line[i : i+1]
		case c == '"':
			open, quoted = !open, true
		case !open && (c == ' ' || c == '\t'):
			if word != "" || quoted {
				words = append(words, word)
			}
			word, quoted = "", false
		default:
			word += line[i : i+1]
		}
	}
	if open {
		return nil, errors.New("a quote is not closed")
	}
	if word != "" || quoted {
		words = append(words, word)
	}
	return words, nil
}
