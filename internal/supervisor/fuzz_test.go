package supervisor

import (
	"encoding/binary"
	"testing"
)

// FuzzReceive reads whatever an end writes, until it makes no sense. No descriptor comes of it, no
// message comes twice, and it does not hang when the end has gone.
func FuzzReceive(f *testing.F) {
	say := func(texts ...string) (b []byte) {
		for _, text := range texts {
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(text))), text...)
		}
		return b
	}
	f.Add(say(`{"kind":"hold","name":"1.a.1","note":"e30="}`, `{"kind":"sync","number":1}`))
	f.Add(say(`{"kind":"begin","begin":{"pid":1,"watchdog":1,"restarts":-1}}`))
	f.Add(say(`{"kind":"socket"}`, ``))
	f.Add(say(`{"kind":1}`))
	f.Add([]byte{0, 0, 0, 9, '{'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 64<<10 { // what a socket has room for
			return
		}
		to, from := ends(t)
		if _, err := to.c.Write(b); err != nil {
			t.Fatal(err)
		}
		_ = to.c.CloseWrite()
		for read := 0; ; read++ {
			m, err := from.receive()
			if err != nil {
				break
			}
			if m.fd >= 0 || read > len(b)/headerSize {
				t.Fatalf("message %d is %+v", read, m)
			}
		}
		to.close()
		from.close()
	})
}
