package billing

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"bulkhead/host/stats"
)

// source is a host whose figures the test sets.
type source struct{ all []stats.Usage }

func (*source) Refresh(context.Context) bool            { return true }
func (s *source) Usage(all []stats.Usage) []stats.Usage { return append(all, s.all...) }

// rig is a Recorder with a clock that the test sets.
type rig struct {
	t      *testing.T
	folder string
	log    bytes.Buffer
	clock  time.Time
	host   source
	r      *Recorder
}

var minutely = Settings{Interval: time.Minute, Size: 1 << 20, Keep: 24 * time.Hour}

func newRig(t *testing.T, s Settings) *rig {
	g := &rig{t: t, folder: filepath.Join(t.TempDir(), Folder), clock: time.Now().Truncate(time.Second)}
	g.boot(s)
	return g
}

// boot is another run of the daemon with the same folder.
func (g *rig) boot(s Settings) {
	g.r = New(g.folder, slog.New(slog.NewTextHandler(&g.log, nil)))
	g.r.wall = func() time.Time { return g.clock }
	g.r.from = g.clock
	g.r.Set(s)
	g.host.all = nil
}

// record is an interval of a minute, in which a tenant has used so many bytes.
func (g *rig) record(tenant string, life, in int64) bool {
	g.host.use(tenant, life, in)
	g.clock = g.clock.Add(time.Minute)
	return g.r.Record(g.t.Context(), &g.host)
}

func (s *source) use(tenant string, life, in int64) {
	for i := range s.all {
		if s.all[i].Life == life {
			s.all[i].In += in
			return
		}
	}
	s.all = append(s.all, stats.Usage{Tenant: tenant, Life: life, Used: stats.Used{In: in}})
}

// read gives the records as "tenant:bytes", and the report.
func (g *rig) read(q Query) (string, Report) {
	g.t.Helper()
	var all []string
	found, err := Read(g.folder, q, func(r *Record) error {
		all = append(all, fmt.Sprintf("%s:%d", r.Tenant, r.In))
		return nil
	})
	if err != nil {
		g.t.Fatal(err)
	}
	return strings.Join(all, " "), found
}

func (g *rig) want(q Query, want string) {
	g.t.Helper()
	if got, found := g.read(q); got != want || !reflect.DeepEqual(found, Report{}) {
		g.t.Errorf("read are %q, %+v; want %q", got, found, want)
	}
}

func (g *rig) names() string {
	all, err := filepath.Glob(filepath.Join(g.folder, "*"))
	if err != nil {
		g.t.Fatal(err)
	}
	for i := range all {
		all[i] = filepath.Base(all[i])
	}
	return strings.Join(all, " ")
}

// Each interval has what was used in it, of whoever has used something; one that is over counts to
// its end, and another of its name begins anew.
func TestRecords(t *testing.T) {
	g := newRig(t, minutely)
	g.want(Query{}, "")
	began := g.clock
	g.host.use("idle", 9, 0)
	g.record("a", 1, 5)
	g.record("a", 1, 0)
	g.host.use("b", 2, 1)
	g.record("a", 1, 2)
	g.want(Query{}, "a:5 a:2 b:1")
	g.want(Query{Tenant: "b"}, "b:1")
	g.want(Query{Since: began.Add(time.Minute)}, "a:2 b:1")

	last := g.host.all[1]
	if last.Tenant != "a" {
		t.Fatal(g.host.all)
	}
	last.In += 10
	g.host.all = append(g.host.all[:1:1], g.host.all[2])
	g.r.Over(last)
	g.record("a", 3, 4)
	g.record("a", 3, 1)
	g.want(Query{}, "a:5 a:2 b:1 a:14 a:1")
	if st := g.r.Stats(); st != (Stats{Records: 5}) {
		t.Errorf("the figures are %+v", st)
	}
	if len(g.r.seen) != 3 {
		t.Errorf("%d tenants are known, want 3", len(g.r.seen))
	}
}

// A record is read as it was written, times to the nanosecond.
func TestRecordIsReadBack(t *testing.T) {
	g := newRig(t, minutely)
	used := stats.Used{
		Fuel: 1, CPU: 2*time.Second + 3, In: 4, Out: 5, UpstreamIn: 6, UpstreamOut: 7,
		Connections: 8, Upstreams: 9, DatagramsIn: 10, DatagramsOut: 11,
	}
	g.host.all = []stats.Usage{{Tenant: "a \"b\"\n", Life: 1, Open: 12, Used: used}}
	from := g.clock
	g.clock = g.clock.Add(time.Minute + 1)
	if !g.r.Record(t.Context(), &g.host) {
		t.Fatal(g.log.String())
	}
	want := Record{
		Boot: g.r.boot, Seq: 1, Tenant: "a \"b\"\n", From: from.UTC(), To: g.clock.UTC(),
		Fuel: 1, CPU: Seconds(2*time.Second + 3), In: 4, Out: 5, UpstreamIn: 6, UpstreamOut: 7, Connections: 8, Upstreams: 9, DatagramsIn: 10, DatagramsOut: 11, Open: 12,
	}
	if _, err := Read(g.folder, Query{}, func(r *Record) error {
		if *r != want || r.Used() != used {
			t.Errorf("read is %+v, want %+v", *r, want)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	var none stats.Used
	sum := used
	sum.Add(used)
	if used.Less(used) != none || sum.Less(used) != used || reflect.ValueOf(used).NumField() != 10 {
		t.Error("an amount is left out of sums")
	}
}

// What was cut off in the middle of a line goes, and the next records stand behind the whole ones.
func TestTornEnd(t *testing.T) {
	g := newRig(t, minutely)
	g.record("a", 1, 5)
	path := filepath.Join(g.folder, "000000001.jsonl")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := 1; cut < len(whole); cut += 17 {
		if err := os.WriteFile(path, append(bytes.Clone(whole), whole[:cut]...), 0o600); err != nil {
			t.Fatal(err)
		}
		g.want(Query{}, "a:5") // also while it is there
		g.boot(minutely)
		g.record("a", 1, 1)
		g.want(Query{}, "a:5 a:1")
		if got := g.names(); got != "000000001.jsonl" {
			t.Fatal(got)
		}
	}
	if said := g.log.String(); !strings.Contains(said, "is cut off") {
		t.Errorf("the log says %q", said)
	}
	// Nothing but a torn line.
	if err := os.WriteFile(path, whole[:len(whole)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	g.boot(minutely)
	g.record("b", 1, 2)
	g.want(Query{}, "b:2")
}

// A disk that cannot be written stops nothing: what was used is written when it can be, by the same
// numbers, and is never counted twice.
func TestFailedWrites(t *testing.T) {
	g := newRig(t, minutely)
	g.record("a", 1, 1)
	full := 0
	if runtime.GOOS == "linux" {
		disk, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		g.r.files.close()
		g.r.files.now, full = disk, 1
		if g.record("a", 1, 2) || !strings.Contains(g.log.String(), "no space left on device; make room there") {
			t.Errorf("of a full disk the log says %q", g.log.String())
		}
	} else {
		g.record("a", 1, 2)
	}
	if err := os.Rename(g.folder, g.folder+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(g.folder, nil, 0o600); err != nil { // no folder can be made there
		t.Fatal(err)
	}
	for range 3 {
		if g.record("a", 1, 4) {
			t.Error("it is written to no folder")
		}
	}
	if st := g.r.Stats(); st != (Stats{Records: int64(2 - full), Failures: int64(3 + full)}) {
		t.Errorf("the figures are %+v", st)
	}
	if n := strings.Count(g.log.String(), "level=ERROR"); n != 1 {
		t.Errorf("the log says so %d times: %s", n, g.log.String())
	}
	if err := os.Remove(g.folder); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(g.folder+".away", g.folder); err != nil {
		t.Fatal(err)
	}
	if !g.record("a", 1, 8) {
		t.Error(g.log.String())
	}
	// The first one that fails is written as it was.
	want := []string{"a:1 a:2 a:4 a:16", "a:1 a:2 a:20"}[full]
	g.want(Query{}, want)
	if !strings.Contains(g.log.String(), "is written again") {
		t.Error(g.log.String())
	}

	// Where it is not known what of a record the disk has, it is there twice.
	path := filepath.Join(g.folder, "000000001.jsonl")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(text, text...), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, found := g.read(Query{}); got != want || found.Repeated != int64(4-full) || found.Missing != 0 {
		t.Errorf("read are %q, %+v", got, found)
	}
}

// Files end by their size and their age, and go when all are too large, or one too old.
func TestFilesEndAndGo(t *testing.T) {
	small := Settings{Interval: time.Minute, Size: parts * 1000, Keep: 24 * time.Hour}
	g := newRig(t, small)
	for range 10 { // of some 300 bytes
		g.record("a", 1, 1)
	}
	if got := g.names(); got != "000000001.jsonl 000000002.jsonl 000000003.jsonl 000000004.jsonl" {
		t.Errorf("the files are %s", got)
	}
	g.boot(small)
	g.record("a", 1, 1)
	if got := g.names(); !strings.HasSuffix(got, "000000004.jsonl") {
		t.Errorf("another run does not go on with the newest: %s", got)
	}
	for range 60 {
		g.record("a", 1, 1)
	}
	all, err := list(g.folder)
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	for _, f := range all {
		size += f.size
	}
	gone := g.r.Stats().Removed
	if size > small.Size || gone == 0 || all[0].number != gone+1 {
		t.Errorf("%d bytes are there, and %d files have gone: %s", size, gone, g.names())
	}
	if _, found := g.read(Query{}); !reflect.DeepEqual(found, Report{}) {
		t.Errorf("what has gone at the beginning is %+v", found)
	}

	// By age: a file gets records for a day, or as long as it stays.
	g.r.Set(Settings{Interval: time.Minute, Size: 1 << 30, Keep: 2 * time.Hour})
	before := all[len(all)-1].number
	g.clock = g.clock.Add(90 * time.Minute)
	for _, f := range all { // whose records are as old as the clock says
		if err := os.Chtimes(f.path, g.clock.Add(-90*time.Minute), g.clock.Add(-90*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	g.record("a", 1, 1)
	g.clock = g.clock.Add(40 * time.Minute)
	g.record("a", 1, 1)
	if all, _ = list(g.folder); len(all) != 1 || all[0].number <= before {
		t.Errorf("the files are %s", g.names())
	}
	if g.r.Stats().Removed != gone {
		t.Error("a file that was too old counts as one that had to go")
	}

	// What is not ours stays.
	for _, name := range []string{"notes.txt", "1.jsonl.bak", "x.jsonl", "-3.jsonl"} {
		if err := os.WriteFile(filepath.Join(g.folder, name), []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g.clock = g.clock.Add(1000 * time.Hour)
	g.record("a", 1, 1)
	if got := g.names(); !strings.Contains(got, "notes.txt") || !strings.Contains(got, "1.jsonl.bak") || !strings.Contains(got, "x.jsonl") {
		t.Errorf("the files are %s", got)
	}
}

// A file that somebody has removed or moved away is not written to any more.
func TestFileIsMovedAway(t *testing.T) {
	g := newRig(t, minutely)
	g.record("a", 1, 1)
	path := filepath.Join(g.folder, "000000001.jsonl")
	if err := os.Rename(path, filepath.Join(t.TempDir(), "away")); err != nil {
		t.Fatal(err)
	}
	g.record("a", 1, 2)
	g.want(Query{}, "a:2")
	if err := os.RemoveAll(g.folder); err != nil {
		t.Fatal(err)
	}
	g.record("a", 1, 3)
	g.want(Query{}, "a:3")
}

// Records end and begin with the key, and what is used meanwhile has none.
func TestOff(t *testing.T) {
	off := minutely
	off.Interval = 0
	g := newRig(t, off)
	g.record("a", 1, 1)
	if got := g.names(); got != "" {
		t.Errorf("there are %s", got)
	}
	g.r.Set(minutely)
	g.record("a", 1, 2) // begins here
	g.record("a", 1, 4)
	g.want(Query{}, "a:4")
	g.r.Set(off)
	g.record("a", 1, 8) // ends here
	g.record("a", 1, 16)
	g.want(Query{}, "a:4 a:8")
	if len(g.r.owed) != 0 {
		t.Errorf("%d tenants are owed for", len(g.r.owed))
	}
}

// Run ends intervals where the time of day is a multiple of them.
func TestRun(t *testing.T) {
	s := minutely
	s.Interval = time.Second
	g := newRig(t, s)
	g.r.wall = time.Now
	g.r.from = time.Now()
	g.host.use("a", 1, 5)
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		g.r.Run(ctx, &g.host)
		close(over)
	}()
	for g.r.Stats().Records == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-over
	g.want(Query{}, "a:5")
}

func TestSeconds(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0", 1: "0.000000001", time.Second: "1", 1500 * time.Millisecond: "1.5", -1: "0", 10*time.Hour + 20: "36000.00000002"} {
		if got := Seconds(d).String(); got != want {
			t.Errorf("%v is written %s, want %s", d, got, want)
		}
	}
}

// FuzzRead reads files of whatever there is: it ends, each record that it gives is one that could
// have been written, and no two are the same.
func FuzzRead(f *testing.F) {
	one := `{"boot":"b","seq":1,"tenant":"acme","from":"2026-11-30T08:00:00Z","to":"2026-11-30T08:01:00Z","fuel":7,"cpu_seconds":2.000000001,"in":10,"out":20,"connections":1}` + "\n"
	for _, s := range []string{
		"", "\n", one, one + one, one[:50], one + strings.Replace(one, `"seq":1`, `"seq":9223372036854775807`, 1), strings.Replace(one, `"in":10`, `"in":-10`, 1),
		strings.Replace(one, "2.000000001", "1e300", 1), strings.Replace(one, "2026-11-30T08:00:00Z", "9999-12-31T23:59:59+14:00", 1), `{"boot":1}` + "\n" + one,
		strings.Repeat("x", mostLine+5) + "\n" + one, "null\n", "\x00\x00\n", `{"boot":"b","seq":1}` + "\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		seen := make(map[string]bool)
		r := reader{last: make(map[string]int64), each: func(r *Record) error {
			id := fmt.Sprint(r.Boot, " ", r.Seq)
			if seen[id] || r.Tenant == "" || r.Seq < 1 || r.In < 0 || r.CPU < 0 {
				t.Errorf("%+v is given", r)
			}
			seen[id] = true
			return nil
		}}
		if err := r.read(bytes.NewReader(text), "a file", false); err != nil {
			t.Error(err)
		}
		lines := bytes.Count(text, []byte("\n"))
		if n := int64(len(seen)) + r.found.Repeated + r.found.Damaged; n < int64(lines) || n > int64(lines)+1 {
			t.Errorf("%d of %d lines are accounted for", n, lines)
		}
	})
}
