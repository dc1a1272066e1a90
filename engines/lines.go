package engines

import "bulkhead/engines/sourcemap"

// largestMap is the longest source map that is read, in bytes. esbuild's for a script that fills
// the room is a quarter of it.
const largestMap = 8 << 20

// linesOf is what an engine needs to say where a script was written, as it stands behind the
// script: a zero byte, which ends the script, and the table. It has at most room bytes. It is empty
// if the map is none, or does not fit: errors then have the lines of the script itself.
func linesOf(sourceMap []byte, room int) []byte {
	if len(sourceMap) == 0 || len(sourceMap) > largestMap || room < 1 {
		return nil
	}
	m, err := sourcemap.Parse(sourceMap)
	if err != nil {
		return nil
	}
	table := m.Table(room - 1)
	if table == nil {
		return nil
	}
	return append([]byte{0}, table...)
}
