package memory

// Linear is one instance's memory: a place for all it may ever
// have, of which the pages in use are readable, writable and charged. Having
// a place, it never moves, so that a window stays where it is; and what is
// above it faults instead of being another instance's, unless it has all it may.
//
// Its first bytes may be a private copy of an Image, of which only those pages
// take memory, and are charged, that were written to: see Image.Copy. Some methods are for
// copies alone, and say so.
//
// Its methods are called by whoever runs the instance.
type Linear struct {
	account Account
	space   []byte // its place; what is not in use faults
	b       []byte // space[:in use]
	charged int    // bytes of the account, until Free
	maps    mapped

	image   *Image // nil: none
	written written
	tells   bool // its pages were given to nobody before, and frequent has not seen them
}

// New takes a place for most bytes, the first of which are in use and zero. Both numbers are of
// whole pages of the system's. The error has ErrNoRoom or ErrNoMappings inside.
func New(account Account, mappings MappingAccount, most, first int) (*Linear, error) {
	m := &Linear{account: account, maps: mapped{account: mappings}}
	if !m.maps.take(PlainMappings) {
		return nil, noMappings()
	}
	if !m.charge(first) {
		m.maps.drop()
		return nil, NoRoom(first)
	}
	var err error
	if m.space, err = newSpace(most, first); err != nil {
		m.discharge(first)
		m.maps.drop()
		return nil, err
	}
	m.b = m.space[:first:first]
	return m, nil
}

// Bytes is what is in use. It stays where it is when the memory grows, until Free.
func (m *Linear) Bytes() []byte { return m.b }

// charge has the account know of more bytes, or reports false.
func (m *Linear) charge(more int) bool {
	if !m.account.Reserve(more) {
		return false
	}
	m.charged += more
	return true
}

func (m *Linear) discharge(less int) {
	m.charged -= less
	m.account.Release(less)
}

// Grow makes the memory size bytes large and returns Bytes. It returns nil when that cannot
// be, as the engine wants it: the guest's memory.grow fails then.
func (m *Linear) Grow(size uint64) []byte {
	if m.GrowTo(size) != nil {
		return nil
	}
	return m.b
}

// GrowTo makes the memory size bytes large, in place, if it is smaller. The error is
// ErrNoRoom or ErrNoMappings, as it is: a guest may ask for ever.
func (m *Linear) GrowTo(size uint64) error {
	used := len(m.b)
	if size <= uint64(used) {
		return nil
	}
	more := int(size) - used
	if size > uint64(len(m.space)) {
		if m.charge(more) { // the account counts what it refuses
			m.discharge(more)
		}
		return ErrNoRoom
	}
	if !m.charge(more) {
		return ErrNoRoom
	}
	from := m.own()
	first := m.image != nil && used == from
	if first && !m.maps.take(1) {
		m.discharge(more)
		return ErrNoMappings
	}
	if extendSpace(m.space, from, used, int(size)) != nil {
		m.discharge(more)
		if first {
			m.maps.give(1)
		}
		return ErrNoRoom
	}
	m.b = m.space[:size:size]
	return nil
}

// own is where what is no copy begins.
func (m *Linear) own() int {
	if m.image == nil {
		return 0
	}
	return len(m.image.bytes)
}

// Free gives everything back, once. Nothing may run in the instance then, or
// ever after.
func (m *Linear) Free() {
	if m.space == nil {
		return
	}
	m.discharge(m.charged)
	freeSpace(m.space, len(m.b))
	m.space, m.b = nil, nil
	m.maps.drop()
}
