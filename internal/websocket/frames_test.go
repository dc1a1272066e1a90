package websocket

import (
	"bytes"
	"testing"

	"github.com/gobwas/ws"
)

// A header that was written is read, whatever its length, and by the library, too.
func TestHeaders(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 65535, 65536, 1 << 24} {
		var b [MaxHeader]byte
		size := PutHeader(b[:], Binary, n)
		if size != HeaderLen(n) {
			t.Errorf("of %d bytes the header has %d, and was to have %d", n, size, HeaderLen(n))
		}
		h, err := ws.ReadHeader(bytes.NewReader(b[:size]))
		if err != nil || h.Length != int64(n) || h.OpCode != Binary || !h.Fin || h.Masked {
			t.Errorf("%d: %+v, %v", n, h, err)
		}
		var client bytes.Buffer
		want := ws.Header{Fin: true, OpCode: Binary, Masked: true, Mask: [4]byte{1, 2, 3, 4}, Length: int64(n)}
		if err := ws.WriteHeader(&client, want); err != nil {
			t.Fatal(err)
		}
		for cut := range client.Len() {
			if _, m, err := ParseHeader(client.Bytes()[:cut], false); m != 0 || err != nil {
				t.Errorf("%d of %d bytes of a header are %d, %v", cut, client.Len(), m, err)
			}
		}
		if h, m, err := ParseHeader(client.Bytes(), false); m != client.Len() || m > MaxClientHeader || err != nil || h != want {
			t.Errorf("%+v was read as %+v, %d bytes, %v", want, h, m, err)
		}
	}
}

// What we read, the library reads likewise.
func FuzzParseHeader(f *testing.F) {
	f.Add([]byte("\x81\x85\x01\x02\x03\x04hello"), false)
	f.Add([]byte("\x00\xfe\x01\x00\x01\x02\x03\x04"), true)
	f.Add([]byte("\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00\x01\x02\x03\x04"), false)
	f.Add([]byte("\x82\xff\xff\x00\x00\x00\x00\x01\x00\x00\x01\x02\x03\x04"), false)
	f.Add([]byte("\x89\x00"), false)
	f.Fuzz(func(t *testing.T, b []byte, fragmented bool) {
		h, n, err := ParseHeader(b, fragmented)
		if n > len(b) || n < 0 || err != nil && n != 0 {
			t.Fatalf("%d bytes of %d, %v", n, len(b), err)
		}
		state := ws.StateServerSide
		if fragmented {
			state = state.Set(ws.StateFragmented)
		}
		theirs, theirErr := ws.ReadHeader(bytes.NewReader(b))
		if theirErr == nil {
			theirErr = ws.CheckHeader(theirs, state)
		}
		switch {
		case n > 0 && (theirErr != nil || theirs != h):
			t.Fatalf("%+v, and for the library %+v, %v", h, theirs, theirErr)
		case n == 0 && err == nil && theirErr == nil:
			t.Fatalf("it is not all there, and for the library it is %+v", theirs)
		}
	})
}

// What a close frame says is said again.
func FuzzParseClose(f *testing.F) {
	f.Add([]byte(""))
	f.Add([]byte("\x03"))
	f.Add([]byte("\x03\xe8bye"))
	f.Add([]byte("\x03\xf4\xff"))
	f.Add([]byte("\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		code, reason, err := ParseClose(b)
		if err != nil {
			return
		}
		var frame [4]byte
		n := PutClose(frame[:], code)
		if code == NoCode {
			if len(b) != 0 || n != 2 {
				t.Fatalf("%q has no code", b)
			}
			return
		}
		if string(frame[2:n])+string(reason) != string(b) || code < 1000 || code > 4999 {
			t.Fatalf("%q is %d and %q", b, code, reason)
		}
	})
}
