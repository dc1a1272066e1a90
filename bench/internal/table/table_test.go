package table

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestWrite(t *testing.T) {
	tab := New("server", "CPU µs", "p99")
	tab.Row("go-net", "9.30", "126")
	tab.Row("a|b\nc", "1", "2", "one too many")
	tab.Row("x")
	var b strings.Builder
	if err := tab.Write(&b); err != nil {
		t.Fatal(err)
	}
	want := `| server | CPU µs | p99 |
|:-------|-------:|----:|
| go-net |   9.30 | 126 |
| a\|b c |      1 |   2 |
| x      |        |     |
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &b, want)
	}
	// Writing escapes the cells; doing it again must not escape them twice.
	var again strings.Builder
	if err := tab.Write(&again); err != nil {
		t.Fatal(err)
	}
	if again.String() != want {
		t.Errorf("the second time it reads\n%s", &again)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriteError(t *testing.T) {
	if err := New("a").Write(full{}); err == nil {
		t.Error("no error from a writer that fails")
	}
}

func TestFigures(t *testing.T) {
	for _, c := range []struct {
		v    float64
		want string
	}{
		{0, "0"}, {0.01234, "0.0123"}, {0.5, "0.500"}, {7.314, "7.31"},
		{73.14, "73.1"}, {126.4, "126"}, {48200.2, "48200"}, {-7.314, "-7.31"}, {math.NaN(), "-"},
	} {
		if got := Figure(c.v); got != c.want {
			t.Errorf("Figure(%v) = %q, want %q", c.v, got, c.want)
		}
	}
	if got := Micros(1500 * time.Nanosecond); got != "1.50" {
		t.Errorf("Micros(1.5 µs) = %q", got)
	}
	if got := Ratio(3, 2); got != "1.50x" {
		t.Errorf("Ratio(3, 2) = %q", got)
	}
	if got := Ratio(3, 0); got != "-" {
		t.Errorf("Ratio(3, 0) = %q", got)
	}
}
