package loader

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/host/config"
)

// What a script in TypeScript was made of is noted in the state folder: the next start does not
// make it again, unless the note is damaged, which the log says.
func TestScriptsAreNoted(t *testing.T) {
	links, dir, state := 0, t.TempDir(), filepath.Join(t.TempDir(), "state")
	path := filepath.Join(dir, "a.ts")
	if err := os.WriteFile(path, []byte("const n: number = 7; export default { line(c) { c.send(String(n)) } };"), 0o600); err != nil {
		t.Fatal(err)
	}
	// start loads it as a new host does, and answers the note's file, which is another one when it
	// is written anew: a link to each keeps its inode from being used again.
	start := func() (file string, info os.FileInfo, log string) {
		t.Helper()
		k := newStock(t, state)
		l := config.DefaultListener()
		l.Plugin = path
		code, sum, err := k.Read(&l)
		if err != nil || !strings.Contains(string(code), "n = 7") {
			t.Fatalf("it is %s: %v", code, err)
		}
		k.keep(&l, sum, code) // as when it is loaded
		all, _ := filepath.Glob(filepath.Join(state, "modules", "code", "*"))
		if len(all) == 1 {
			file = all[0]
			info, err = os.Stat(file)
		}
		if file == "" || err != nil {
			t.Fatalf("there is no note, or more, in %q: %v", all, err)
		}
		links++
		if err := os.Link(file, filepath.Join(dir, fmt.Sprint(links))); err != nil {
			t.Fatal(err)
		}
		return file, info, k.log.String()
	}
	_, first, _ := start()
	file, second, log := start()
	if !os.SameFile(first, second) || strings.Contains(log, "note") {
		t.Errorf("the next start has made it again; the log says %s", log)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, third, log := start()
	if os.SameFile(second, third) || !strings.Contains(log, "level=WARN") || !strings.Contains(log, "a note of what a script was made of is of no use") || !strings.Contains(log, filepath.Base(file)) {
		t.Errorf("of a damaged note the log says %s", log)
	}
}
