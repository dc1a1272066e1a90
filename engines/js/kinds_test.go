package js_test

import "testing"

// Each of the mistakes that can be made in every language is told in one message.
func TestMistakesOfAllLanguages(t *testing.T) { scripts.Mistakes(t) }
