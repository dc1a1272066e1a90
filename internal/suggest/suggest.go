// Package suggest finds the word that was meant by one that is not known.
package suggest

import (
	"strings"
	"unicode"
)

// Word returns the one of words that word was most likely meant to be, or ""
// when none is near. On a tie the earlier of words wins. Any goroutine may call
// it, with bytes from anywhere.
func Word(word string, words []string) string {
	// A word this long is no slip of the finger, and comparing it is not free.
	if len(word) > 64 {
		return ""
	}
	flat := flatten(word)
	best, found := "", -1
	for _, w := range words {
		d := editDistance(flat, flatten(w))
		if found < 0 || d < found {
			best, found = w, d
		}
	}
	if found < 0 || found > allowedDistance(len(flat)) {
		return ""
	}
	return best
}

// allowedDistance is how many slips still make n letters the same word: with
// more, short words would be taken for quite different ones.
func allowedDistance(n int) int {
	switch {
	case n <= 3:
		return 1
	case n <= 8:
		return 2
	default:
		return 3
	}
}

// flatten makes idleTimeout, idle-timeout and idle_timeout one word.
func flatten(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '-' {
			return -1
		}
		return unicode.ToLower(r)
	}, s)
}

// editDistance counts the letters to add, drop, change, or swap with a
// neighbour to make b of a, each letter being touched at most once.
func editDistance(a, b string) int {
	ra, rb := []rune(a), []rune(b)
	// Three rows of the table are enough: a swap looks two rows back.
	before, last, row := make([]int, len(rb)+1), make([]int, len(rb)+1), make([]int, len(rb)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(ra); i++ {
		row[0] = i
		for j := 1; j <= len(rb); j++ {
			change := 1
			if ra[i-1] == rb[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && ra[i-1] == rb[j-2] && ra[i-2] == rb[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(rb)]
}
