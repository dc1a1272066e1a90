package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"bulkhead/host/config/keylines"
)

// maxGuestConfig is the most bytes of JSON a plugin's configuration may be.
const maxGuestConfig = 64 * kib

// readGuestConfig turns [listener.config] into the JSON its plugin is given.
func readGuestConfig(l *Listener, v *value) {
	table, ok := v.v.(map[string]any)
	if !ok {
		v.wrongType()
		return
	}
	tree, ok := v.jsonValue("config", table, v.n)
	if !ok {
		return
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	// The JSON goes to a program, not into a web page.
	e.SetEscapeHTML(false)
	if err := e.Encode(tree); err != nil {
		v.bad("cannot be written as JSON: " + clip(err.Error()))
		return
	}
	out := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if len(out) > maxGuestConfig {
		v.bad(fmt.Sprintf("is %d bytes as JSON", len(out)))
		return
	}
	l.Config = out
}

// jsonValue gives x in the types that JSON has; path is its place in the
// table. It goes no deeper than keylines.MaxDepth, since the scanner let x through.
func (v *value) jsonValue(path string, x any, n *keylines.Node) (any, bool) {
	good := true
	switch x := x.(type) {
	case float64:
		if math.IsInf(x, 0) || math.IsNaN(x) {
			v.d.fail(n.Line, "write a finite number", "%s = %s cannot be said in JSON", clip(path), shown(x))
			return nil, false
		}
		return x, true
	case time.Time:
		return formatTime(x), true
	case map[string]any:
		out := make(map[string]any, len(x))
		for _, key := range documentOrder(x, n) {
			item, ok := v.jsonValue(path+"."+key, x[key], n.At(key))
			out[key] = item
			good = good && ok
		}
		return out, good
	case []map[string]any:
		out := make([]any, len(x))
		for i := range x {
			item, ok := v.jsonValue(fmt.Sprintf("%s[%d]", path, i), x[i], n.Item(i))
			out[i] = item
			good = good && ok
		}
		return out, good
	case []any:
		out := make([]any, len(x))
		for i := range x {
			item, ok := v.jsonValue(fmt.Sprintf("%s[%d]", path, i), x[i], n.Item(i))
			out[i] = item
			good = good && ok
		}
		return out, good
	}
	return x, true
}
