package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestBucketsAreContiguous(t *testing.T) {
	// Every bucket's upper end belongs to it, and the next value to the next.
	for i := range buckets - 1 {
		if got := bucket(upper(i)); got != i {
			t.Fatalf("bucket(upper(%d)) = %d", i, got)
		}
		if got := bucket(upper(i) + 1); got != i+1 {
			t.Fatalf("bucket(upper(%d)+1) = %d, want %d", i, got, i+1)
		}
	}
	if got := upper(buckets - 1); got != maxValue {
		t.Fatalf("the last bucket ends at %d, want %d", got, int64(maxValue))
	}
}

func TestQuantileAgainstSorted(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 3, 10, 999, 20000} {
		var h Histogram
		all := make([]int64, n)
		for i := range all {
			all[i] = int64(math.Exp(rng.Float64() * 20))
			h.Record(all[i])
		}
		slices.Sort(all)
		for _, q := range []float64{0, 0.001, 0.5, 0.9, 0.99, 0.999, 1} {
			rank := min(max(int(math.Ceil(q*float64(n))), 1), n)
			want := all[rank-1]
			got := h.Quantile(q)
			if got < want || float64(got) > float64(want)*(1+1.0/128)+1 {
				t.Errorf("n %d: Quantile(%v) = %d, want %d to 1%% more", n, q, got, want)
			}
		}
		if h.Max() != all[n-1] || h.Count() != uint64(n) {
			t.Errorf("n %d: Max %d, Count %d; want %d, %d", n, h.Max(), h.Count(), all[n-1], n)
		}
	}
}

func TestHistogramEdges(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 || h.Max() != 0 {
		t.Error("an empty histogram is not 0")
	}
	h.Record(-5)
	if h.Quantile(1) != 0 {
		t.Errorf("a negative duration counts as %d, want 0", h.Quantile(1))
	}
	h.Record(math.MaxInt64)
	if got := h.Quantile(1); got != maxValue {
		t.Errorf("an endless duration reads %d, want %d", got, int64(maxValue))
	}
	if h.Max() != math.MaxInt64 {
		t.Errorf("Max = %d", h.Max())
	}
	if got := h.Quantile(math.NaN()); got != 0 {
		t.Errorf("Quantile(NaN) = %d, want the smallest", got)
	}
	if h.Quantile(-1) != h.Quantile(0) || h.Quantile(7) != h.Quantile(1) {
		t.Error("a share outside 0..1 is not taken as the nearer end")
	}
	h.Reset()
	if h.Count() != 0 || h.Quantile(1) != 0 {
		t.Error("Reset left something")
	}
}

func TestRecordDoesNotAllocate(t *testing.T) {
	var h Histogram
	if n := testing.AllocsPerRun(100, func() { h.Record(12345) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestMedianAndSpread(t *testing.T) {
	for _, c := range []struct {
		in             []float64
		median, spread float64
	}{
		{nil, 0, 0},
		{[]float64{4}, 4, 0},
		{[]float64{1, 3}, 2, 1},
		{[]float64{9, 1, 5}, 5, 1.6},
		{[]float64{8, 2, 4, 6}, 5, 1.2},
		{[]float64{-1, 0, 1}, 0, 0},
	} {
		in := slices.Clone(c.in)
		if got := Median(c.in); got != c.median {
			t.Errorf("Median(%v) = %v, want %v", c.in, got, c.median)
		}
		if got := Spread(c.in); got != c.spread {
			t.Errorf("Spread(%v) = %v, want %v", c.in, got, c.spread)
		}
		if !slices.Equal(in, c.in) {
			t.Errorf("%v became %v", in, c.in)
		}
	}
}
