package local

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bulkhead/abi"
	"bulkhead/store"
	"bulkhead/store/storetest"
)

var kills = flag.Int("kills", 2, "how often the process is killed that writes")

// victim writes into a file until it is killed, and says what is done.
const victim = "BULKHEAD_TEST_WRITES_TO"

func TestMain(m *testing.M) {
	if path := os.Getenv(victim); path != "" {
		write(path)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func write(path string) {
	s := NewFiles(1).File(FileOptions{Path: path, Now: wall, Budget: &storetest.Budget{}}).Store("x", StoreOptions{})
	run := time.Now().UnixNano()
	for w := range 64 {
		go func() {
			for i := 0; ; i++ {
				key := fmt.Sprintf("%d-%d-%d", run, w, i)
				if res := storetest.Do(s, store.Request{Op: store.Set, Key: []byte(key), Value: []byte(key), Expect: store.New}); res.Code == abi.OK {
					os.Stdout.WriteString(key + "\n")
				}
			}
		}()
	}
	time.Sleep(time.Hour)
}

// What was acknowledged is there, whenever the process was killed.
func TestKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "acme")
	var acknowledged []string
	for round := range *kills {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), victim+"="+path)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			acknowledged = append(acknowledged, lines.Text())
			if n == 200+37*round%300 {
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = child.Wait()
	}
	// The last line may be cut: the process was killed while it wrote it.
	f := open(t, NewFiles(1), path, wall, &storetest.Budget{})
	s := f.Store("x", StoreOptions{})
	lost := 0
	for _, key := range acknowledged {
		if got := storetest.Get(s, key); strings.Count(key, "-") == 2 && !strings.HasPrefix(got, key+" at") {
			if lost++; lost < 5 {
				t.Errorf("%s: %s", key, got)
			}
		}
	}
	t.Logf("%d acknowledged, %d lost", len(acknowledged), lost)
	if len(acknowledged) < 200 || lost > 0 {
		t.Errorf("%d were acknowledged, and %d of them are lost", len(acknowledged), lost)
	}
	f.Close()
}
