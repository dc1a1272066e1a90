package bytesize

import "testing"

func TestString(t *testing.T) {
	for n, want := range map[int64]string{0: "0 bytes", -1 << 20: "-1048576 bytes", 5: "5 bytes", 1025: "1025 bytes", 65536: "64 KiB", 1 << 20: "1 MiB", 3 << 29: "1536 MiB", 17 << 16: "1.1 MiB", 2 << 30: "2 GiB"} {
		if got := String(n); got != want {
			t.Errorf("%d is written %q, want %q", n, got, want)
		}
	}
}
