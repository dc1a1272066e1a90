// Package canary proves that no byte of one connection is ever seen by another. It
// holds nothing but tests: each connection finds its instance clean, leaves a secret
// of its own wherever a guest can leave anything, and ends in one of the ways there
// are; and nobody may ever find the secret of another.
package canary
