package guest

import (
	"encoding/binary"
	"errors"
	"testing"
)

// Each finds a message that is there, waits for one that is not, and gives one up that is too long.
func TestFraming(t *testing.T) {
	line := func(p string, most int) func() ([]byte, int, error) {
		return func() ([]byte, int, error) { return Line([]byte(p), most) }
	}
	until := func(p, delimiter string, most int) func() ([]byte, int, error) {
		return func() ([]byte, int, error) { return Until([]byte(p), []byte(delimiter), most) }
	}
	fixed := func(p string, size int) func() ([]byte, int, error) {
		return func() ([]byte, int, error) { return Fixed([]byte(p), size) }
	}
	prefixed := func(p string, size int, order binary.ByteOrder, most int) func() ([]byte, int, error) {
		return func() ([]byte, int, error) { return Prefixed([]byte(p), size, order, most) }
	}
	big, little := binary.BigEndian, binary.LittleEndian
	for i, c := range []struct {
		find    func() ([]byte, int, error)
		message string
		used    int
		invalid bool
	}{
		{find: line("ab\r\ncd", 10), message: "ab", used: 4},
		{find: line("ab\ncd", 2), message: "ab", used: 3},
		{find: line("ab\r\n", 2), message: "ab", used: 4},
		{find: line("\n", 0), used: 1},
		{find: line("", 0)},
		{find: line("ab", 2)},
		{find: line("ab\r", 2)},
		{find: line("abcd", 2), invalid: true},
		{find: line("abc\n", 2), invalid: true},
		{find: until("ab--cd", "--", 5), message: "ab", used: 4},
		{find: until("a---cd", "--", 5), message: "a", used: 3},
		{find: until("ab--", "--", 2), message: "ab", used: 4},
		{find: until("ab-", "--", 2)},
		{find: until("abc-", "--", 2), invalid: true},
		{find: until("abc--", "--", 2), invalid: true},
		{find: until("ab", "", 2), invalid: true},
		{find: fixed("abc", 2), message: "ab", used: 2},
		{find: fixed("abc", 4)},
		{find: fixed("abc", 0), invalid: true},
		{find: prefixed("\x02abc", 1, big, 9), message: "ab", used: 3},
		{find: prefixed("\x00\x01a", 2, big, 9), message: "a", used: 3},
		{find: prefixed("\x01\x00a", 2, little, 9), message: "a", used: 3},
		{find: prefixed("\x00\x00\x00\x01a", 4, big, 9), message: "a", used: 5},
		{find: prefixed("\x01\x00\x00\x00a", 4, little, 9), message: "a", used: 5},
		{find: prefixed("\x00", 1, big, 0), used: 1},
		{find: prefixed("\x00\x00\x00\x02a", 4, big, 9)},
		{find: prefixed("\x00\x00", 4, big, 9)},
		{find: prefixed("\xff\xff\xff\xff", 4, big, 9), invalid: true},
		{find: prefixed("\x00", 1, big, -1), invalid: true},
		{find: prefixed("\x00\x00\x00", 3, big, 9), invalid: true},
	} {
		message, used, err := c.find()
		if string(message) != c.message || used != c.used || errors.Is(err, Invalid) != c.invalid || err != nil && !c.invalid {
			t.Errorf("%d: %q, %d, %v; want %q, %d, invalid: %v", i, message, used, err, c.message, c.used, c.invalid)
		}
	}
}
