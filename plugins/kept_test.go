package plugins

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"bulkhead/abi"
	w "bulkhead/internal/wasmtest"
	"bulkhead/plugins/wasi"
)

// keepAll does what leaves something with an instance: it names as many buffers in one write as
// there may be, prints lines, and counts under all names.
func keepAll(t *testing.T, i *Instance) {
	t.Helper()
	call := func(name string, args ...uint64) {
		for _, f := range wasi.Functions() {
			if f.Name == name {
				s := append(args, 0)
				if f.Call(&i.wasi, s); wasi.Errno(s[0]) != wasi.Success {
					t.Fatalf("%s answers %d", name, s[0])
				}
				return
			}
		}
		t.Fatalf("there is no %s", name)
	}
	const list, text, out, vectors = 1000, 20_000, 500, 1024
	b := i.memory.Bytes()
	copy(b[text:], "a whole line, and another\n")
	for k := range vectors {
		binary.LittleEndian.PutUint32(b[list+8*k:], text)
		binary.LittleEndian.PutUint32(b[list+8*k+4:], uint32(1+k%26))
	}
	for fd := range uint64(2) {
		call("fd_write", fd+1, list, vectors, out)
	}
	for k := range abi.MaxMetrics {
		name := strings.Repeat("m", abi.MaxMetricName-3) + fmt.Sprintf("%03d", k)
		copy(b[text:], name)
		wantCode(t, i, abi.OK, "count", text, int64(len(name)), 1)
	}
	copy(b[text:], "end\n")
	binary.LittleEndian.PutUint32(b[list:], text)
	binary.LittleEndian.PutUint32(b[list+4:], 4)
	for fd := range uint64(2) {
		call("fd_write", fd+1, list, 1, out)
	}
}

// An instance keeps none of Go's heap, for which nobody is charged, for what it has once written,
// printed and counted: 33 KB each they were.
func TestInstancesKeepLittle(t *testing.T) {
	n := newTenant(t, 0)
	m := n.load(w.Echo().Bytes(), Events)
	l := listener()
	l.LogLines = -1
	keep := func() *Instance {
		i, err := m.Instantiate(l)
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	const many = 200
	all := make([]*Instance, many)
	for k := range all {
		all[k] = keep()
	}
	keepAll(t, all[0]) // the counters themselves are the tenant's
	before := heapInUse()
	for _, i := range all {
		keepAll(t, i)
	}
	if each := (heapInUse() - before) / many; each > 512 {
		t.Errorf("each instance keeps %d bytes", each)
	}
	for _, i := range all {
		i.Close()
	}
}

// Of a line that has not ended an instance keeps what may be logged of it, and nothing when it has.
func TestHalfLinesAreBounded(t *testing.T) {
	n := newTenant(t, 0)
	i := n.start(w.Echo(), listener())
	s := &i.out[0]
	for range 100 {
		i.print(s, abi.LogInfo, []byte(strings.Repeat("x", 700)))
	}
	if len(s.line) != abi.MaxLogLine+1 || cap(s.line) > 2*abi.MaxLogLine {
		t.Errorf("%d bytes are kept, in %d", len(s.line), cap(s.line))
	}
	i.print(s, abi.LogInfo, []byte("\nwhole\n\nbegin"))
	i.print(s, abi.LogInfo, []byte(" and end\n"))
	if s.line != nil {
		t.Errorf("%d bytes are kept of nothing", cap(s.line))
	}
	var got []string
	for _, line := range n.log.lines {
		got = append(got, line.Text)
	}
	want := []string{strings.Repeat("x", abi.MaxLogLine) + "…", "whole", "begin and end"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("logged:\n%q\nwant\n%q", got, want)
	}
}
