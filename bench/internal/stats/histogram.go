// Package stats sums up what a run measured: latencies as percentiles, repeats
// as medians.
package stats

import (
	"math"
	"math/bits"
)

// subBits sets the width of a bucket: each power of two is cut into 2^subBits
// of them, so a percentile is at most one part in 2^subBits too high.
const subBits = 7

// maxValue is the longest duration a Histogram tells apart, about 73 minutes
// in nanoseconds. It keeps the array small; longer ones count as this long.
const maxValue = 1<<42 - 1

const buckets = (42-subBits)<<subBits + 1<<subBits

// Histogram counts durations in nanoseconds in buckets that are less than one
// percent wide. The zero value is empty and ready for use. It never allocates.
// One goroutine at a time may use it.
type Histogram struct {
	counts [buckets]uint64
	total  uint64
	max    int64
}

// Record counts one duration of ns nanoseconds. Less than zero counts as zero.
func (h *Histogram) Record(ns int64) {
	ns = max(ns, 0)
	h.max = max(h.max, ns)
	h.total++
	h.counts[bucket(min(ns, maxValue))]++
}

// Count returns how many durations were recorded.
func (h *Histogram) Count() uint64 { return h.total }

// Max returns the longest duration recorded, exactly; 0 when there is none.
func (h *Histogram) Max() int64 { return h.max }

// Reset forgets everything recorded.
func (h *Histogram) Reset() { *h = Histogram{} }

// Quantile returns the duration that a share q (0 to 1) of the recorded ones
// do not exceed: 0.5 is the median, 0.99 the p99. It is the upper end of the
// bucket, so it errs on the slow side, and never exceeds Max. An empty
// histogram gives 0. A q outside 0..1, or NaN, is taken as the nearer end, NaN
// as 0.
func (h *Histogram) Quantile(q float64) int64 {
	if h.total == 0 {
		return 0
	}
	if !(q > 0) {
		q = 0
	}
	rank := uint64(math.Ceil(min(q, 1) * float64(h.total)))
	rank = min(max(rank, 1), h.total)
	var seen uint64
	for i, n := range h.counts {
		seen += n
		if seen >= rank {
			return min(upper(i), h.max)
		}
	}
	return h.max
}

// bucket returns the index for v, which is 0 to maxValue. Values below
// 2^subBits have a bucket each; above, the top subBits+1 bits choose it.
func bucket(v int64) int {
	if v < 1<<subBits {
		return int(v)
	}
	shift := bits.Len64(uint64(v)) - subBits - 1
	return (shift+1)<<subBits + int(v>>shift) - 1<<subBits
}

// upper returns the largest value that falls in bucket i.
func upper(i int) int64 {
	if i < 1<<subBits {
		return int64(i)
	}
	shift := i>>subBits - 1
	top := int64(i&(1<<subBits-1) + 1<<subBits)
	return (top+1)<<shift - 1
}
