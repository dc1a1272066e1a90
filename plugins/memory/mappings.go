package memory

// ImageMappings is how many mappings an Image takes, as it is read.
const ImageMappings = 1

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
