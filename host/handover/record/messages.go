package record

import "fmt"

// Hello is what each side says first.
type Hello struct {
	// Least and Most are the Versions that it knows.
	Least, Most uint32
	// Room is how many descriptors the process can have beside those that it has.
	Room int64
	// LastNumber is the greatest number of a connection that there was.
	LastNumber uint64
}

// Batch says what the units of a message are: the length of each one's record, in the file that
// comes with the message, and how many descriptors it has.
type Batch struct {
	Units []Size
}

// Size is of one unit.
type Size struct{ Length, Descriptors int64 }

// Answer is for the units of a batch: "" for each that is taken, and else why it is not.
type Answer struct {
	Why []string
}

const (
	// MostUnits is how many units a Batch may have.
	MostUnits = 240
	mostWhy   = 512
)

// Append appends the hello to b.
func (h *Hello) Append(b []byte) []byte { return write(b, h.code) }

// ReadHello reads one.
func ReadHello(b []byte) (h Hello, err error) {
	err = wrap("a hello", read(b, h.code))
	return h, err
}

// Append appends the batch to b.
func (k *Batch) Append(b []byte) []byte { return write(b, k.code) }

// ReadBatch reads one.
func ReadBatch(b []byte) (k Batch, err error) {
	err = wrap("a batch", read(b, k.code))
	return k, err
}

// Append appends the answer to b. What is too long of it is left out.
func (a *Answer) Append(b []byte) []byte {
	for n := range a.Why {
		a.Why[n] = a.Why[n][:min(len(a.Why[n]), mostWhy)]
	}
	return write(b, a.code)
}

// ReadAnswer reads one.
func ReadAnswer(b []byte) (a Answer, err error) {
	err = wrap("an answer", read(b, a.code))
	return a, err
}

func wrap(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func (h *Hello) code(c *coder) {
	number(c, &h.Least)
	number(c, &h.Most)
	number(c, &h.Room)
	c.wide(&h.LastNumber)
}

func (k *Batch) code(c *coder) {
	list(c, &k.Units, MostUnits, func(s *Size) {
		number(c, &s.Length)
		number(c, &s.Descriptors)
		if s.Length < 0 || s.Descriptors < 0 {
			c.fail("a size is less than zero")
		}
	})
}

func (a *Answer) code(c *coder) {
	list(c, &a.Why, MostUnits, func(s *string) { c.text(s, mostWhy) })
}
