package budget

// Sockets is an account of what a tenant's sockets hold in the system. One of them may take as much
// as is free then, so that some is always left for the next: alone it gets half, two a third each.
type Sockets struct{ memory Memory }

// NewSockets makes an account of limit bytes; zero or less grants nothing.
func NewSockets(limit int64) *Sockets {
	s := new(Sockets)
	s.SetLimit(limit)
	return s
}

// SetLimit has it be an account of limit bytes from now on.
func (s *Sockets) SetLimit(limit int64) { s.memory.SetLimit(limit) }

// TakeSocketMemory takes n bytes, n > 0, for who has taken held already, or reports false.
func (s *Sockets) TakeSocketMemory(n, held int) bool {
	if n > s.SocketRoom(held) {
		s.memory.refused.Add(1)
		return false
	}
	return s.memory.Reserve(n)
}

// ReturnSocketMemory gives n bytes back.
func (s *Sockets) ReturnSocketMemory(n int) { s.memory.Release(n) }

// SocketRoom is how many bytes somebody who has taken held could take now; zero or less: none.
func (s *Sockets) SocketRoom(held int) int {
	// What is taken has to be no more than what is left then: held + n <= free - n.
	free := s.memory.Limit() - s.memory.Used()
	return int((free - int64(held)) / 2)
}

// Limit is how many bytes there may be.
func (s *Sockets) Limit() int64 { return s.memory.Limit() }

// Used is how many bytes are taken now.
func (s *Sockets) Used() int64 { return s.memory.Used() }

// Refused is how often somebody wanted more than there was.
func (s *Sockets) Refused() int64 { return s.memory.Refused() }
