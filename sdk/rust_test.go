package sdk_test

import (
	"strings"
	"testing"

	"bulkhead/internal/hosttest"
	"bulkhead/internal/play"
	"bulkhead/internal/playtest"
	"bulkhead/internal/talk"
)

// rust are conversations with everything.rs of what the other libraries do not have.
const rust = `
eol lf

== what is left when the client has finished
< hello
> rest
> lines
> "tw"
< 2
>EOF
< left: tw
< over after 2
<EOF

== nothing is left
< hello
> rest
>EOF
< over after 1
<EOF

== without a configuration
< hello
> settings
< none 7 0.5 false 0 0
>EOF
< over after 1

== with one
config settings = { text = "\u00e9", integer = 10, number = 3, flag = true, list = [1, [2]], table = { a = 1, b = 2 } }
< hello
> settings
< é 10 3 true 2 2
>EOF
< over after 1
`

// What clients leave behind reaches the handler, and its configuration does.
func playRust(t *testing.T, plugin string) {
	playtest.Plays(t, plugin, "rust.talk", []byte(rust))
	for config, want := range map[string]string{
		"txt = 1":      "the configuration's txt is not known; there are: text, integer, ",
		"text = 1":     "the configuration's text has to be a text",
		"integer = 11": "the configuration's integer has to be a number from 1 to 10, without a fraction",
		"number = []":  "the configuration's number has to be a number",
		"flag = 1":     "the configuration's flag has to be true or false",
		"list = {}":    "the configuration's list has to be a list",
		"table = []":   "the configuration's table has to be a table",
	} {
		f, err := talk.Parse("rust.talk", []byte("== a\nconfig settings = { "+config+" }\n< hello\n"))
		if err != nil {
			t.Fatal(err)
		}
		r, err := play.Play(t.Context(), play.Handler{Plugin: plugin, State: hosttest.State()}, f.Cases[0], play.Written)
		said := ""
		if err != nil {
			said = err.Error()
		}
		if r != nil {
			said += strings.Join(r.Log, "\n")
		}
		if err == nil || !strings.Contains(said, want) {
			t.Errorf("%s: %v; want %q in\n%s", config, err, want, said)
		}
	}
}
