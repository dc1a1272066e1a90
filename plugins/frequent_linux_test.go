package plugins

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// When many connect at once, the first instances tell which pages the others need: those have them
// when they are made, as the snapshot has them, though none has ended yet.
func TestInstancesComeWithThePagesTheyWriteTo(t *testing.T) {
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(page)
	if err := unix.Madvise(page, unix.MADV_POPULATE_WRITE); err != nil {
		t.Skip("the system gives no pages before they are written to: ", err)
	}
	g := newPooled(t, shipped(t, "echo/echo.wasm"), listener())
	f := &sink{}
	var all []*Instance
	with, without := 0, 0
	for range 8 {
		i := g.get()
		all = append(all, i)
		changes, pages, ok := i.memory.Changes(nil, nil)
		if !ok || len(changes) > 0 {
			t.Errorf("one begins with %d bytes that the snapshot has not, %v", len(changes), ok)
		}
		if pages > 0 {
			with++
		} else {
			without++
		}
		g.on(i, func() { i.data(i.admit(f), f, copy(i.Window(nil), "a secret of this connection")) })
	}
	if with == 0 || without == 0 {
		t.Errorf("%d instances come with pages of their own, and %d without", with, without)
	}
	g.l.on(func() {
		for _, i := range all {
			i.Close()
		}
	})
}
