package awaittest

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain has the tests run as a package has them whose tests wait.
func TestMain(m *testing.M) { os.Exit(Beside(m).Run()) }

var meeting sync.WaitGroup

// As many tests as Beside says are there at the same time, on one processor, too.
func TestBeside(t *testing.T) {
	const asked = "BULKHEAD_TEST_BESIDE"
	if os.Getenv(asked) == "" {
		for _, parallel := range []string{"", "2"} {
			c := exec.Command(os.Args[0], "-test.run=^TestBeside$", "-test.cpu=1")
			if parallel != "" {
				c.Args = append(c.Args, "-test.parallel="+parallel)
			}
			c.Env = append(os.Environ(), asked+"=1")
			out, err := c.CombinedOutput()
			if parallel == "" && err != nil {
				t.Errorf("they do not meet: %v\n%s", err, out)
			}
			if parallel != "" && err == nil {
				t.Errorf("with -parallel %s eight meet:\n%s", parallel, out)
			}
		}
		return
	}
	meeting.Add(beside)
	met := make(chan struct{})
	go func() {
		meeting.Wait()
		close(met)
	}()
	// Without -parallel they wait until all are there.
	patience := Longest
	if slices.ContainsFunc(os.Args, func(arg string) bool { return strings.HasPrefix(arg, "-test.parallel=") }) {
		patience = 50 * time.Millisecond
	}
	for range beside {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			meeting.Done()
			select {
			case <-met:
			case <-time.After(patience):
				t.Error("the others do not come")
			}
		})
	}
}
