// Package page is the page that an operator looks at: files that are part of the binary, and a Feed
// of what they show. A browser gets the files, which hold no secret and no markup of anybody's, and
// then server-sent events: all of it first, and each second what has changed.
package page

import (
	"embed"
	"fmt"
	"net/http"
	"strconv"

	"bulkhead/host/admin/guard"
)

//go:embed files
var files embed.FS

// policy lets the page run its own script and style, ask whom it came from, and do nothing else.
// Nothing in it can become markup: no text is parsed as HTML by a script (trusted-types).
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// file is one that is served.
type file struct{ path, name, kind string }

var served = []file{
	{"/", "files/page.html", "text/html; charset=utf-8"},
	{"/page.css", "files/page.css", "text/css; charset=utf-8"},
	{"/page.js", "files/page.js", "text/javascript; charset=utf-8"},
	{"/icon.svg", "files/icon.svg", "image/svg+xml"},
}

// Paths are those of the page's files.
func Paths() (all []string) {
	for _, f := range served {
		all = append(all, f.path)
	}
	return all
}

// ServeFiles has a mux answer GET for the page's files: /, /page.css, /page.js and /icon.svg. They
// are the same for everybody.
func ServeFiles(to *http.ServeMux) {
	for _, f := range served {
		text, err := files.ReadFile(f.name)
		if err != nil {
			panic(fmt.Sprintf("page: %v", err)) // it is part of the binary
		}
		pattern := "GET " + f.path
		if f.path == "/" {
			pattern += "{$}"
		}
		to.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) {
			protect(w.Header())
			w.Header().Set("Content-Type", f.kind)
			w.Header().Set("Content-Length", strconv.Itoa(len(text)))
			_, _ = w.Write(text)
		})
	}
}

// protect sets what a browser is to know of everything that the page is made of.
func protect(h http.Header) {
	guard.Protect(h)
	h.Set("Content-Security-Policy", policy)
}
