package memory

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// Both ways to ask the kernel tell the same, of copies that were written to anywhere, and of what
// they have grown by; also when there is no room for all of the pages.
func TestBothWaysTellTheSame(t *testing.T) {
	g, err := NewImage(Unlimited{}, bytes.Repeat([]byte{1, 0}, 20*wasmPage), 0)
	if err != nil {
		t.Skip(err)
	}
	defer g.Close()
	fd := pagemap()
	if fd < 0 {
		t.Skip("this system does not tell of its pages")
	}
	random := rand.New(rand.NewPCG(1, 2))
	for _, writes := range []int{0, 1, 13, 100, 400, 600} {
		m, err := g.Copy(Unlimited{}, Unlimited{}, 60*wasmPage, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.GrowTo(uint64(len(g.bytes) + 3*wasmPage)); err != nil {
			t.Fatal(err)
		}
		count := len(m.b) / systemPage
		want := map[int32]bool{}
		for range writes {
			p := random.IntN(count)
			want[int32(p)] = true
			m.b[p*systemPage+random.IntN(systemPage)] = 7
		}
		sum := 0
		for range 50 {
			sum += int(m.b[random.IntN(len(g.bytes))]) // what is only read is nobody's
		}
		for _, room := range []int{count, 64, 5, 0} {
			read, scanned := make([]int32, room), make([]int32, room)
			n, ok := readWritten(fd, m.b, read)
			if !ok || n != len(want) {
				t.Fatalf("%d pages of %d were written to, it reads %d, %v", len(want), count, n, ok)
			}
			for _, p := range read[:min(n, room)] {
				if !want[p] {
					t.Errorf("it reads that page %d was written to", p)
				}
			}
			k, ok := scanWritten(fd, m.b, scanned)
			if !ok {
				t.Skip("this kernel has no PAGEMAP_SCAN")
			}
			if k != n || !slices.Equal(scanned, read) {
				t.Errorf("it scans %d pages %v, and reads %d %v", k, scanned, n, read)
			}
		}
		m.Free()
	}
}

// Where the kernel has no scan, pages are found all the same, and it is not asked again.
func TestNoScan(t *testing.T) {
	defer cannotScan.Store(cannotScan.Load())
	g, err := NewImage(Unlimited{}, make([]byte, leastScanned), 0)
	if err != nil {
		t.Skip(err)
	}
	defer g.Close()
	m, err := g.Copy(Unlimited{}, Unlimited{}, leastScanned, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	m.b[3*systemPage] = 1
	for _, cannot := range []bool{true, false} {
		cannotScan.Store(cannot)
		var pages [KeptPages]int32
		if n, ok := writtenTo(m.b, pages[:]); !ok || fmt.Sprint(pages[:n]) != "[3]" {
			t.Errorf("cannotScan %v: it finds %v, %v", cannot, pages[:n], ok)
		}
	}
	// A descriptor that knows no such request: that of the image.
	if _, ok := scanWritten(g.fd, m.b, nil); ok || !cannotScan.Load() {
		t.Error("a file that is no pagemap is scanned")
	}
}

// BenchmarkWrittenTo asks for the pages of a copy of which a Go guest's were written to, and some
// ranges read, in both ways.
func BenchmarkWrittenTo(b *testing.B) {
	for _, size := range []int{128 << 10, 2560 << 10} {
		g, err := NewImage(Unlimited{}, bytes.Repeat([]byte{1}, size), 0)
		if err != nil {
			b.Skip(err)
		}
		defer g.Close()
		m, err := g.Copy(Unlimited{}, Unlimited{}, size, 0)
		if err != nil {
			b.Fatal(err)
		}
		defer m.Free()
		sum := 0
		for k := 0; k < size; k += 200 << 10 {
			sum += int(m.b[k]) // and the kernel maps 16 pages
			m.b[k]++
		}
		for name, ask := range map[string]func(int, []byte, []int32) (int, bool){"read": readWritten, "scan": scanWritten} {
			b.Run(fmt.Sprintf("%s/%dKiB", name, size>>10), func(b *testing.B) {
				var pages [KeptPages]int32
				for b.Loop() {
					if _, ok := ask(pagemap(), m.b, pages[:]); !ok {
						b.Skip("this system does not tell")
					}
				}
			})
		}
	}
}
