package plugins

import (
	"bytes"
	"errors"
	"io"

	"bulkhead/plugins/codestore"
)

// engineCache is what the engine asks for native code before it compiles, and
// what it gives code to that it has compiled. The engine's own reads files by
// their names and believes what they say. This one has what was verified, in
// memory. It is used while engine.compiling is held.
type engineCache struct {
	offered codestore.Sum // the name of the code that the engine may have
	code    []byte        // nil: none
	only    bool          // nothing may be compiled here
	compile func(engine codestore.Sum, code []byte)
	// charge is called with the length of the code that the engine may have, before it maps
	// that, and may refuse it.
	charge func(n int) error
	made   int // how long what it has compiled is
}

// errNotCached is code that the engine was not given, so that it would compile.
var errNotCached = errors.New("its code is not there")

// Get gives the engine what it may have, and has it give up where it would
// compile and must not.
func (c *engineCache) Get(engine codestore.Sum) (io.ReadCloser, bool, error) {
	switch {
	case c.code != nil && engine == c.offered:
		if err := c.charge(len(c.code)); err != nil {
			return nil, false, err
		}
		return io.NopCloser(bytes.NewReader(c.code)), true, nil
	case c.only:
		return nil, false, errNotCached
	}
	return nil, false, nil
}

// Add takes what the engine has compiled.
func (c *engineCache) Add(engine codestore.Sum, content io.Reader) error {
	code, err := io.ReadAll(content)
	c.made = len(code)
	if err == nil && c.compile != nil {
		c.compile(engine, code)
	}
	return err
}

// Delete is asked for when the engine finds that what it was given is another
// version's. It would compile then.
func (c *engineCache) Delete(codestore.Sum) error {
	if c.only {
		return errNotCached
	}
	return nil
}
