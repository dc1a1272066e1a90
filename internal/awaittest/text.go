package awaittest

import (
	"bytes"
	"sync"
)

// Text is what others write while a test reads it, such as a log. The zero value is empty. Any
// goroutine may call its methods.
type Text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write adds to it.
func (t *Text) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(p)
}

// String is all that was written so far.
func (t *Text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}
