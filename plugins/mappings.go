package plugins

import "fmt"

// What takes memory mappings, and how many at most.
const (
	// imageMappings is the image, as it is read.
	imageMappings = 1
	// moduleMappings is the code of a module, and how it is called.
	moduleMappings = 2
	// runtimeMappings is what an engine has of its own.
	runtimeMappings = 8
)

// mapped is how many mappings something holds of its tenant's account.
type mapped struct {
	account MappingAccount
	n       int
}

// take takes more, or reports false.
func (m *mapped) take(n int) bool {
	if !m.account.ReserveMappings(n) {
		return false
	}
	m.n += n
	return true
}

func (m *mapped) give(n int) {
	m.n -= n
	m.account.ReleaseMappings(n)
}

// drop gives all back.
func (m *mapped) drop() { m.give(m.n) }

func noMappings() error {
	return fmt.Errorf("%w; raise mappings of the tenant, or the system's vm.max_map_count", ErrMappings)
}
