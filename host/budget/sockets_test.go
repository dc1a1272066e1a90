package budget

import "testing"

// Whoever takes all he can leaves some for the next, and the sum stays within the limit.
func TestSockets(t *testing.T) {
	s := NewSockets(1200)
	held := make([]int, 3)
	for range 100 { // all grow side by side, step by step
		for i := range held {
			if s.TakeSocketMemory(10, held[i]) {
				held[i] += 10
			}
		}
	}
	for _, h := range held {
		if h < 280 || h > 310 {
			t.Errorf("three hold %v of 1200; want a quarter each, and one left", held)
		}
	}
	if room := s.SocketRoom(0); room < 100 {
		t.Errorf("there is room for %d for the next", room)
	}
	if s.Refused() == 0 {
		t.Error("nobody was refused")
	}
	s.SetLimit(500)
	if s.TakeSocketMemory(1, 0) {
		t.Error("there is room above a limit that was lowered")
	}
	for _, h := range held {
		s.ReturnSocketMemory(h)
	}
	if s.Used() != 0 || !s.TakeSocketMemory(250, 0) || s.TakeSocketMemory(1, 250) {
		t.Error("one who is alone gets half, and no more")
	}
}
