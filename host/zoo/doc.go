// Package zoo keeps hostile guests, and proves that each is contained. It holds
// nothing but tests: an animal is one row, which says how its module is built,
// what sets it off, and what has to happen to it. That nobody else may notice is
// wanted of all of them alike.
package zoo
