package config

import (
	"math"
	"strconv"
	"strings"
)

// The binary units, in bytes.
const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

// sizeUnits are the suffixes a size may have. Binary and decimal units are
// kept apart by their spelling; "KB", which people use for both, is neither.
var sizeUnits = []struct {
	suffix string
	bytes  int64
}{
	{"KiB", kib}, {"MiB", mib}, {"GiB", gib},
	{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9},
	// Last, because every other suffix ends in it too.
	{"B", 1},
}

// parseSize reads "64KiB", "10MB" or "100B" as bytes. The problem is "" when s
// is a size, and else completes the sentence "s ...".
func parseSize(s string) (bytes int64, problem string) {
	digits := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	suffix := s[len(digits):]
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, "is not a size: it is one whole number and a unit, with nothing between them"
	}
	if suffix == "" {
		return 0, "has no unit"
	}
	unit := int64(0)
	for _, u := range sizeUnits {
		if u.suffix == suffix {
			unit = u.bytes
			break
		}
	}
	if unit == 0 {
		return 0, "has an unknown unit (the units are B, KiB, MiB, GiB of 1024 and kB, MB, GB of 1000)"
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n > math.MaxInt64/unit {
		return 0, "is out of range"
	}
	return n * unit, ""
}

// parseRate reads "10MiB/s" as bytes a second, with problem as in parseSize.
func parseRate(s string) (bytes int64, problem string) {
	size, ok := strings.CutSuffix(s, "/s")
	if !ok {
		if _, p := parseSize(s); p == "" {
			return 0, `has no "/s"`
		}
		return 0, "is not a rate: it is a size with /s behind it"
	}
	return parseSize(size)
}

// formatSize writes n bytes, not negative, in the largest binary unit that
// gives a whole number, so that parseSize reads the same number back.
func formatSize(n int64) string {
	switch {
	case n == 0:
	case n%gib == 0:
		return strconv.FormatInt(n/gib, 10) + "GiB"
	case n%mib == 0:
		return strconv.FormatInt(n/mib, 10) + "MiB"
	case n%kib == 0:
		return strconv.FormatInt(n/kib, 10) + "KiB"
	}
	return strconv.FormatInt(n, 10) + "B"
}
