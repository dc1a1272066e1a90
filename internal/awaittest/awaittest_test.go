package awaittest

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// failed is a test that writes down why it failed.
type failed struct{ why string }

func (f *failed) Helper() {}
func (f *failed) Fatalf(format string, args ...any) {
	f.why = fmt.Sprintf(format, args...)
	panic(f)
}

func TestUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, began := 0, time.Now()
		Until(t, "it is late", func() bool { asked++; return time.Since(began) > Longest/2 })
		if most := int(Longest/2/time.Millisecond) + 10000; asked > most {
			t.Errorf("it was asked %d times: it takes the processor from what it waits for", asked)
		}
		f := &failed{}
		func() {
			defer func() { _ = recover() }()
			Until(f, "the cows come home", func() bool { return false })
		}()
		if !strings.Contains(f.why, "never: the cows come home") {
			t.Errorf("what never comes fails with %q", f.why)
		}
	})
}
