package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
)

// manifest is what counts of a package.json.
type manifest struct {
	Name, Main, Module string
	exports, imports   *entry // nil: there are none
	pure               bool   // sideEffects is false: what is imported and not used is left out
}

// entry is a value of exports or imports: a text, a list, or conditions in their order; null is
// none of them.
type entry struct {
	text   *string
	list   []*entry
	keys   []string
	values []*entry
}

// manifest reads that of a folder. A folder without one has an empty one.
func (r *resolver) manifest(folder string) (*manifest, error) {
	if m := r.manifests[folder]; m != nil {
		return m, nil
	}
	m := &manifest{}
	file := path.Join(folder, "package.json")
	switch a := r.at(file); a.Kind {
	case isBarred:
		return nil, wrong(a)
	case isFile:
		if err := m.parse(a.content); err != nil {
			return nil, fmt.Errorf("%s cannot be read: %w", file, err)
		}
	}
	r.manifests[folder] = m
	return m, nil
}

// scope is the package.json that a file belongs to, and its folder; nil: there is none.
func (r *resolver) scope(file string) (*manifest, string, error) {
	for folder := path.Dir(file); ; folder = path.Dir(folder) {
		if path.Base(folder) == packages {
			return nil, "", nil
		}
		if a := r.at(path.Join(folder, "package.json")); a.Kind == isFile {
			m, err := r.manifest(folder)
			return m, folder, err
		}
		if folder == "." {
			return nil, "", nil
		}
	}
}

// pure reports whether a file is of a package without side effects.
func (r *resolver) pure(file string) bool {
	m, _, err := r.scope(file)
	return err == nil && m != nil && m.pure
}

func (m *manifest) parse(text []byte) error {
	text = bytes.TrimPrefix(text, []byte("\uFEFF"))
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return err
	}
	for name, to := range map[string]*string{"name": &m.Name, "main": &m.Main, "module": &m.Module} {
		_ = json.Unmarshal(fields[name], to) // what is no text is as if it were not there
	}
	m.pure = string(fields["sideEffects"]) == "false"
	var err error
	if m.exports, err = parseEntry(fields["exports"]); err != nil {
		return fmt.Errorf("exports: %w", err)
	}
	if m.imports, err = parseEntry(fields["imports"]); err != nil {
		return fmt.Errorf("imports: %w", err)
	}
	return nil
}

// deepest is how deep entries may lie in each other.
const deepest = 32

func parseEntry(text []byte) (*entry, error) {
	if len(text) == 0 || string(text) == "null" {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	return readEntry(d, 0)
}

func readEntry(d *json.Decoder, depth int) (*entry, error) {
	if depth > deepest {
		return nil, fmt.Errorf("it is deeper than %d", deepest)
	}
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	e := &entry{}
	switch token {
	case json.Delim('['):
		e.list = []*entry{}
		for d.More() {
			one, err := readEntry(d, depth+1)
			if err != nil {
				return nil, err
			}
			e.list = append(e.list, one)
		}
		_, err = d.Token()
	case json.Delim('{'):
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			one, err := readEntry(d, depth+1)
			if err != nil {
				return nil, err
			}
			e.keys, e.values = append(e.keys, key.(string)), append(e.values, one)
		}
		_, err = d.Token()
	case nil:
	default:
		s, ok := token.(string)
		if !ok {
			return nil, errors.New("there is something else than texts, lists and tables in it")
		}
		e.text = &s
	}
	return e, err
}

// hasPaths reports whether the keys are paths, and not conditions.
func (e *entry) hasPaths() bool { return len(e.keys) > 0 && strings.HasPrefix(e.keys[0], ".") }

// match is the value of a key, and what stands for the star in that; nil: there is none.
func (e *entry) match(key string) (found *entry, star string) {
	best := ""
	for i, k := range e.keys {
		before, after, pattern := strings.Cut(k, "*")
		switch {
		case k == key && !pattern:
			return e.values[i], ""
		case !pattern || len(before) < len(best) || !strings.HasPrefix(key, before) || len(key) < len(k) || !strings.HasSuffix(key, after):
		case found == nil || len(before) > len(best):
			found, star, best = e.values[i], key[len(before):len(key)-len(after)], before
		}
	}
	return found, star
}
