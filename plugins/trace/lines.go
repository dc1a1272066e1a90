package trace

import (
	"debug/dwarf"
	"errors"
	"fmt"
	"io"
)

// Lines are the places of a module's code.
type Lines struct {
	data  *dwarf.Data
	steps int // what may be read yet
}

// maxSteps is how many entries and rows of tables may be read for all questions. They may lead in
// circles.
const maxSteps = 20_000_000

var errTooMuch = errors.New("what it says of its lines takes too long to read")

// Open reads what there is before the first question. sections are those that Sections finds. It
// may panic, or take more memory than there is, by what they hold.
func Open(sections map[string][]byte) (*Lines, error) {
	s := func(name string) []byte { return sections[linePrefix+name] }
	data, err := dwarf.New(s("abbrev"), nil, nil, s("info"), s("line"), nil, s("ranges"), s("str"))
	if err != nil {
		return nil, fmt.Errorf("reading its DWARF: %w", err)
	}
	for _, name := range []string{"addr", "line_str", "str_offsets", "rnglists", "types"} {
		if s(name) == nil {
			continue
		}
		if name == "types" {
			err = data.AddTypes(linePrefix+name, s(name))
		} else {
			err = data.AddSection(linePrefix+name, s(name))
		}
		if err != nil {
			return nil, fmt.Errorf("reading its DWARF: %w", err)
		}
	}
	return &Lines{data, maxSteps}, nil
}

// step counts what was read.
func (l *Lines) step(n int) error {
	if l.steps -= n; l.steps < 0 {
		return errTooMuch
	}
	return nil
}

// covers reports whether an entry is of the code at an offset. known is false if it does not say of
// which code it is.
func (l *Lines) covers(e *dwarf.Entry, offset uint64) (covers, known bool, err error) {
	ranges, bad := l.data.Ranges(e)
	if err = l.step(len(ranges) + 1); err != nil || bad != nil {
		return false, false, err
	}
	for _, r := range ranges {
		// Linkers leave code that they have dropped at zero.
		if r[0] != 0 && r[0] <= offset && offset < r[1] {
			return true, true, nil
		}
	}
	return false, len(ranges) > 0, nil
}

// maxInlined bounds how many functions may be inlined in one place.
const maxInlined = 32

// At are the places of the instruction at an offset into the contents of the code section: the
// function that it is in, with those that were inlined, the innermost first. There are none where
// nothing is said of it. It may panic, as Open may.
func (l *Lines) At(offset uint32) ([]Place, error) {
	r := l.data.Reader()
	for {
		e, err := r.Next()
		if err != nil {
			return nil, fmt.Errorf("reading its DWARF: %w", err)
		}
		if e == nil {
			return nil, nil
		}
		covers, _, err := l.covers(e, uint64(offset))
		if err != nil {
			return nil, err
		}
		if e.Tag == dwarf.TagCompileUnit && covers {
			return l.inUnit(r, e, uint64(offset))
		}
		r.SkipChildren()
	}
}

// inUnit are the places of an instruction of a unit, whose children are next.
func (l *Lines) inUnit(r *dwarf.Reader, unit *dwarf.Entry, offset uint64) ([]Place, error) {
	place, files, err := l.row(unit, offset)
	if err != nil {
		return nil, err
	}
	if !unit.Children {
		return some(place), nil
	}
	calls, err := l.callsIn(r, offset)
	if err != nil {
		return nil, err
	}
	var places []Place
	for i := len(calls) - 1; i >= 0; i-- {
		if place.Function, err = l.name(calls[i]); err != nil {
			return nil, err
		}
		places = append(places, place)
		place = callOf(calls[i], files)
	}
	if len(places) == 0 {
		return some(place), nil
	}
	return places, nil
}

func some(p Place) []Place {
	if p == (Place{}) {
		return nil
	}
	return []Place{p}
}

// callsIn are the function that an instruction is in, and those that are inlined there, the
// outermost first.
func (l *Lines) callsIn(r *dwarf.Reader, offset uint64) (calls []*dwarf.Entry, err error) {
	for depth := 1; depth > 0; {
		e, err := r.Next()
		if err != nil {
			return nil, fmt.Errorf("reading its DWARF: %w", err)
		}
		if e == nil {
			return calls, nil
		}
		if err := l.step(1); err != nil {
			return nil, err
		}
		enter := false
		switch e.Tag {
		case 0:
			depth--
			continue
		case dwarf.TagSubprogram, dwarf.TagInlinedSubroutine:
			covers, _, err := l.covers(e, offset)
			if err != nil {
				return nil, err
			}
			if enter = covers; covers {
				if calls = append(calls, e); len(calls) == maxInlined || !e.Children {
					return calls, nil
				}
				depth = 0 // nothing else is in what is around it
			}
		case dwarf.TagLexDwarfBlock:
			covers, known, err := l.covers(e, offset)
			if err != nil {
				return nil, err
			}
			enter = covers || !known
		case dwarf.TagNamespace, dwarf.TagModule, dwarf.TagClassType, dwarf.TagStructType, dwarf.TagUnionType, dwarf.TagEnumerationType:
			enter = len(calls) == 0
		}
		switch {
		case !e.Children:
		case enter:
			depth++
		default:
			r.SkipChildren()
		}
	}
	return calls, nil
}

// maxReferences is how many entries a name may be away.
const maxReferences = 8

// name is that of the function that an entry is of.
func (l *Lines) name(e *dwarf.Entry) (string, error) {
	r := l.data.Reader()
	for range maxReferences {
		if name, ok := e.Val(dwarf.AttrName).(string); ok {
			return short(name), nil
		}
		at, ok := e.Val(dwarf.AttrAbstractOrigin).(dwarf.Offset)
		if !ok {
			at, ok = e.Val(dwarf.AttrSpecification).(dwarf.Offset)
		}
		if !ok {
			break
		}
		if err := l.step(1); err != nil {
			return "", err
		}
		r.Seek(at)
		next, err := r.Next()
		if err != nil || next == nil {
			break
		}
		e = next
	}
	return "", nil
}

// callOf is where an inlined function was called.
func callOf(e *dwarf.Entry, files []*dwarf.LineFile) (p Place) {
	file, _ := e.Val(dwarf.AttrCallFile).(int64)
	line, _ := e.Val(dwarf.AttrCallLine).(int64)
	if file >= 0 && file < int64(len(files)) && files[file] != nil {
		p.File = base(files[file].Name)
	}
	p.Line = max(int(line), 0)
	return p
}

// row is the row of a unit's table that has an instruction, and the files of the unit.
func (l *Lines) row(unit *dwarf.Entry, offset uint64) (p Place, files []*dwarf.LineFile, err error) {
	r, err := l.data.LineReader(unit)
	if err != nil || r == nil {
		return p, nil, err
	}
	var before, now dwarf.LineEntry
	first := true // of a sequence
	dropped := false
	for {
		switch err := r.Next(&now); {
		case err == io.EOF:
			return p, r.Files(), nil
		case err != nil:
			return p, nil, fmt.Errorf("reading its lines: %w", err)
		}
		if err := l.step(1); err != nil {
			return p, nil, err
		}
		if first {
			dropped = now.Address == 0
		} else if !dropped && before.Address <= offset && offset < now.Address {
			if before.File != nil {
				p.File, p.Line = base(before.File.Name), max(before.Line, 0)
			}
			return p, r.Files(), nil
		}
		before, first = now, now.EndSequence
	}
}
