// Some work for the benchmark of the meter: what real guests do, each as an export.
package main

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"hash/crc32"
	"regexp"
	"sort"
	"strings"
)

var buf = make([]byte, 64<<10)
var out = make([]byte, 128<<10)
var ints = make([]int, 20000)
var doc = []byte(`{"a":[1,2,3,{"b":"hello world","c":null,"d":true}],"name":"benchmark","list":[` + strings.Repeat(`{"k":"value","n":12.5},`, 100) + `{}]}`)
var re = regexp.MustCompile(`([a-z]+)@([a-z]+)\.com`)
var text = strings.Repeat("some text without and with an address like joe@example.com here; ", 50)

func init() {
	for i := range buf {
		buf[i] = byte(i * i >> 3)
	}
}

//go:wasmexport sha
func sha() int32 { s := sha256.Sum256(buf); return int32(s[0]) }

//go:wasmexport b64
func b64() int32 { base64.StdEncoding.Encode(out, buf); return int32(out[5]) }

//go:wasmexport jsn
func jsn() int32 {
	var v any
	if json.Unmarshal(doc, &v) != nil {
		panic(1)
	}
	b, _ := json.Marshal(v)
	return int32(len(b))
}

var fw, _ = flate.NewWriter(nil, 6)

//go:wasmexport flt
func flt() int32 {
	var b bytes.Buffer
	fw.Reset(&b)
	fw.Write(buf)
	fw.Close()
	return int32(b.Len())
}

//go:wasmexport srt
func srt() int32 {
	x := uint32(1)
	for i := range ints {
		x = x*1664525 + 1013904223
		ints[i] = int(x >> 8)
	}
	sort.Ints(ints)
	return int32(ints[7])
}

//go:wasmexport crc
func crc() int32 { return int32(crc32.ChecksumIEEE(buf)) }

//go:wasmexport rex
func rex() int32 { return int32(len(re.FindAllString(text, -1))) }

//go:wasmexport rot
func rot() int32 {
	for i, c := range buf {
		switch {
		case c >= 'a' && c <= 'z':
			c = 'a' + (c-'a'+13)%26
		case c >= 'A' && c <= 'Z':
			c = 'A' + (c-'A'+13)%26
		}
		out[i] = c
	}
	return int32(out[9])
}

func main() {}
