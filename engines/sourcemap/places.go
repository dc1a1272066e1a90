package sourcemap

import (
	"encoding/json"
	"errors"
	"strings"
	"unicode"
)

// Place says where a part of a script was written. Lines and columns count from 1. Columns count
// UTF-16 units.
type Place struct {
	Line, Column       uint32 // where the part begins in the script
	File               int    // the number of its source
	WasLine, WasColumn uint32 // there
}

// Map is a source map.
type Map struct {
	// Sources are files, by their paths.
	Sources []string
	// Places are in the script's order. What is between two belongs to the first.
	Places []Place
}

// What a map may have. Names are cut, and anything else beyond is an error.
const (
	maxSources = 1 << 16
	maxPlaces  = 1 << 19
	maxName    = 255 // bytes of a source's name
	maxNumber  = 1 << 30
)

var errMap = errors.New("the source map cannot be read")

// Parse reads a source map of version 3. b may say anything. The result shares nothing with it.
func Parse(b []byte) (*Map, error) {
	var m struct {
		Version  int
		Sources  []string
		Mappings string
	}
	if json.Unmarshal(b, &m) != nil || m.Version != 3 || len(m.Sources) > maxSources {
		return nil, errMap
	}
	for i, s := range m.Sources {
		m.Sources[i] = shown(s)
	}
	places, err := readPlaces(m.Mappings, len(m.Sources))
	if err != nil {
		return nil, err
	}
	return &Map{m.Sources, places}, nil
}

// shown is the name of a source as a line of a log may have it.
func shown(name string) string {
	name = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(name, "?"))
	if len(name) > maxName {
		name = strings.ToValidUTF8(name[len(name)-maxName:], "")
	}
	return name
}

// readPlaces reads mappings. Semicolons separate lines, commas the parts of a line. A part has one,
// four or five numbers, each the difference to the one of the part before.
func readPlaces(mappings string, sources int) (places []Place, err error) {
	line, column := uint32(1), int64(0)
	var file, wasLine, wasColumn int64
	for len(mappings) > 0 {
		switch mappings[0] {
		case ';':
			line, column = line+1, 0
			mappings = mappings[1:]
			continue
		case ',':
			mappings = mappings[1:]
			continue
		}
		var numbers [5]int64
		n := 0
		for ; len(mappings) > 0 && mappings[0] != ',' && mappings[0] != ';'; n++ {
			if n == len(numbers) {
				return nil, errMap
			}
			if numbers[n], mappings, err = number(mappings); err != nil {
				return nil, err
			}
		}
		if column += numbers[0]; column < 0 || column > maxNumber {
			return nil, errMap
		}
		switch n {
		case 1:
			continue // it was written nowhere
		case 4, 5:
		default:
			return nil, errMap
		}
		file, wasLine, wasColumn = file+numbers[1], wasLine+numbers[2], wasColumn+numbers[3]
		if file < 0 || file >= int64(sources) || wasLine < 0 || wasLine > maxNumber ||
			wasColumn < 0 || wasColumn > maxNumber || len(places) == maxPlaces {
			return nil, errMap
		}
		p := Place{line, uint32(column) + 1, int(file), uint32(wasLine) + 1, uint32(wasColumn) + 1}
		if len(places) > 0 {
			last := places[len(places)-1]
			if last.Line == p.Line && last.Column > p.Column {
				return nil, errMap // they are in order
			}
		}
		places = append(places, p)
	}
	return places, nil
}

const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// number reads one number: digits of five bits, the lowest first. The number's lowest bit is its
// sign.
func number(s string) (v int64, rest string, err error) {
	for i, shift := 0, 0; i < len(s) && shift <= 30; i, shift = i+1, shift+5 {
		d := strings.IndexByte(digits, s[i])
		if d < 0 {
			break
		}
		v |= int64(d&31) << shift
		if d&32 == 0 {
			if v&1 != 0 {
				return -(v >> 1), s[i+1:], nil
			}
			return v >> 1, s[i+1:], nil
		}
	}
	return 0, "", errMap
}
