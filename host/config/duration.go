package config

import (
	"strings"
	"time"
)

// parseDuration reads "5m", "1h30m" or "250ms". The problem is "" when s is a
// duration of zero or more, and else completes the sentence "s ...".
func parseDuration(s string) (d time.Duration, problem string) {
	d, err := time.ParseDuration(s)
	switch {
	case err != nil && strings.Trim(s, "0123456789.") == "" && s != "":
		return 0, "has no unit (the units are ms, s, m and h)"
	case err != nil:
		return 0, "is not a duration (the units are ms, s, m and h)"
	case d < 0:
		return 0, "is negative"
	}
	return d, ""
}

// formatDuration writes d as parseDuration reads it, without the empty minutes
// and seconds that time.Duration.String leaves on: 5m, not 5m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
