package stats

import "slices"

// Median returns the middle of vs, or the mean of the two in the middle. It
// returns 0 for none. vs is left as it is.
func Median(vs []float64) float64 {
	if len(vs) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(vs))
	m := len(s) / 2
	if len(s)%2 == 1 {
		return s[m]
	}
	return (s[m-1] + s[m]) / 2
}

// Spread returns how far apart the repeats lie: (largest - smallest) / median.
// It returns 0 for fewer than two values, or a median of 0.
func Spread(vs []float64) float64 {
	m := Median(vs)
	if len(vs) < 2 || m == 0 {
		return 0
	}
	return (slices.Max(vs) - slices.Min(vs)) / m
}
