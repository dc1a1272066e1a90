package plugins

import (
	"errors"
	"fmt"
	"sync"

	"bulkhead/plugins/memory"
)

// stored is what a snapshot keeps of the memory that its instances begin as: an image; or, of a
// script, what it has that its interpreter's base has not, and an image only while somebody has a
// copy of that. Any goroutine may use it.
type stored struct {
	size, extra int                // bytes of the memory, and what each copy takes beside CopyOverhead
	difference  *memory.Difference // nil: the image is always there

	mu     sync.Mutex    // for a difference's image, which is made in some 0.1 ms
	image  *memory.Image // nil: nobody has a copy
	copies int
}

// store keeps what a memory holds. The mappings are those of images that are always there. The
// error is memory.NewImage's.
func store(m *memory.Linear, mappings memory.MappingAccount, extra int) (s *stored, err error) {
	s = &stored{size: len(m.Bytes()), extra: extra}
	if d, ok := m.Difference(); ok {
		s.difference = d
		return s, nil
	}
	s.image, err = memory.NewImage(mappings, m.Bytes(), extra)
	return s, err
}

// cost is how many bytes a copy is charged that writes to as many as usual.
func (s *stored) cost(usual int) int { return memory.CopyOverhead + s.extra + usual }

// returns reports whether the image is made when somebody needs it, and gone with the last copy:
// then a copy that is kept for the next keeps the image, too, which takes ten times as much.
func (s *stored) returns() bool { return s.difference != nil }

// shown is a memory to make an executor with, which nothing runs on.
func (s *stored) shown() *memory.Linear {
	if s.difference != nil {
		return s.difference.From().Shown()
	}
	return s.image.Shown()
}

// copy is memory.Image.Copy. Whoever has it gives it back by free.
func (s *stored) copy(of *budget, most, usual int) (*memory.Linear, error) {
	if s.difference == nil {
		return s.image.Copy(of, of, most, usual)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.image == nil {
		image, err := s.difference.Image(of, s.extra)
		switch {
		case errors.Is(err, memory.ErrNoMappings):
			return nil, err
		case err != nil:
			return nil, fmt.Errorf("%w: %w", memory.ErrNoRoom, err)
		}
		s.image = image
	}
	m, err := s.image.Copy(of, of, most, usual)
	if err != nil {
		s.dropUnused()
		return nil, err
	}
	s.copies++
	return m, nil
}

// free frees a copy.
func (s *stored) free(m *memory.Linear) {
	m.Free()
	if s.difference == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.copies--
	s.dropUnused()
}

// dropUnused lets go of an image that can be made again, if nobody has a copy. mu is held.
func (s *stored) dropUnused() {
	if s.copies == 0 {
		s.image.Close()
		s.image = nil
	}
}

// close lets go of it. Nobody has a copy.
func (s *stored) close() {
	if s.image != nil {
		s.image.Close()
	}
}

// file is a descriptor of the file of an image, which is the caller's to close.
func (s *stored) file(of *budget) (fd int, err error) {
	if s.difference == nil {
		return s.image.File()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.image == nil {
		if s.image, err = s.difference.Image(of, s.extra); err != nil {
			return -1, err
		}
		defer s.dropUnused()
	}
	return s.image.File()
}
