// Package bytesize writes numbers of bytes for people.
package bytesize

import "fmt"

// String is n bytes in the largest unit, up to GiB, that says it exactly, or from 1 MiB on in MiB
// with a tenth: "64 KiB", "1.1 MiB", "2 GiB". Below zero, and where no unit is exact below 1 MiB,
// it is in bytes.
func String(n int64) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}
