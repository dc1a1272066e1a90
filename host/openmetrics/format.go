package openmetrics

import (
	"mime"
	"strconv"
	"strings"
)

// Format is one of the ways to write metrics.
type Format uint8

// The formats.
const (
	// Text is Prometheus' text format, version 0.0.4.
	Text Format = iota
	// OpenMetrics is that of OpenMetrics 1.0.
	OpenMetrics
)

// ContentType is the format's.
func (f Format) ContentType() string {
	if f == OpenMetrics {
		return "application/openmetrics-text; version=1.0.0; charset=utf-8"
	}
	return "text/plain; version=0.0.4; charset=utf-8"
}

// mostRanges is how many of a header's parts are looked at.
const mostRanges = 32

// Negotiate chooses by the Accept header of a request. Where that wants neither, and where it is
// wrong, the choice is Text, which everybody can read.
func Negotiate(accept string) Format {
	best, format := 0.0, Text
	for i, part := range strings.Split(accept, ",") {
		if i == mostRanges {
			break
		}
		kind, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		var f Format
		switch v := params["version"]; kind {
		case "application/openmetrics-text":
			if v != "" && v != "1.0.0" && v != "0.0.1" {
				continue
			}
			f = OpenMetrics
		case "text/plain":
			if v != "" && v != "0.0.4" {
				continue
			}
		case "text/*", "*/*":
		default:
			continue
		}
		if q := quality(params["q"]); q > best {
			best, format = q, f
		}
	}
	return format
}

// quality is a weight of 0 to 1, which is 1 where none is given.
func quality(q string) float64 {
	if q == "" {
		return 1
	}
	v, err := strconv.ParseFloat(q, 64)
	if err != nil || !(v >= 0 && v <= 1) {
		return 0
	}
	return v
}

// TakesGzip reports whether the Accept-Encoding header of a request has gzip.
func TakesGzip(accept string) bool {
	for i, part := range strings.Split(accept, ",") {
		if i == mostRanges {
			break
		}
		name, params, _ := strings.Cut(part, ";")
		if name = strings.ToLower(strings.TrimSpace(name)); name != "gzip" && name != "x-gzip" {
			continue
		}
		key, q, _ := strings.Cut(strings.TrimSpace(params), "=")
		return strings.TrimSpace(key) != "q" || quality(strings.TrimSpace(q)) > 0
	}
	return false
}
