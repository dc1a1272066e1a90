package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxShown is how much of a value an error repeats, in bytes.
const maxShown = 100

// cut shortens s to what an error line has room for.
func cut(s string) (_ string, shortened bool) {
	if len(s) <= maxShown {
		return s, false
	}
	end := maxShown
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end], true
}

// clip makes s short and keeps it on one line.
func clip(s string) string {
	short, shortened := cut(s)
	if strings.ContainsFunc(short, func(r rune) bool { return !strconv.IsPrint(r) }) {
		q := strconv.Quote(short)
		short = q[1 : len(q)-1]
	}
	if shortened {
		short += "..."
	}
	return short
}

// quote is clip in quotes.
func quote(s string) string {
	short, shortened := cut(s)
	if shortened {
		return strconv.Quote(short) + "..."
	}
	return strconv.Quote(short)
}

// shown gives a value as an error repeats it.
func shown(v any) string {
	switch v := v.(type) {
	case string:
		return quote(v)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case int64, bool:
		return fmt.Sprint(v)
	case time.Time:
		return formatTime(v)
	case []any, []map[string]any:
		return "[...]"
	}
	return "{...}"
}

// kind names a value's TOML type, with its article.
func kind(v any) string {
	switch v.(type) {
	case string:
		return "text"
	case float64:
		return "a number with a point"
	case int64:
		return "a whole number"
	case bool:
		return "a boolean"
	case time.Time:
		return "a date or time"
	case []any, []map[string]any:
		return "an array"
	}
	return "a table"
}

// formatTime gives a TOML date or time back in the parts it was written with.
func formatTime(t time.Time) string {
	// The TOML library tells its local kinds apart by the names of their zones.
	switch t.Location().String() {
	case "datetime-local":
		return t.Format("2006-01-02T15:04:05.999999999")
	case "date-local":
		return t.Format("2006-01-02")
	case "time-local":
		return t.Format("15:04:05.999999999")
	}
	return t.Format(time.RFC3339Nano)
}

// Quote writes s as a TOML string in double quotes. TOML does not have all escapes of Go.
func Quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
