package page

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// The files are served as what they are, and the policy lets nothing in that is not theirs.
func TestFiles(t *testing.T) {
	mux := http.NewServeMux()
	ServeFiles(mux)
	for _, path := range Paths() {
		got := httptest.NewRecorder()
		mux.ServeHTTP(got, httptest.NewRequest(http.MethodGet, path, nil))
		h := got.Result().Header
		if got.Code != http.StatusOK || got.Body.Len() == 0 || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Content-Security-Policy") != policy {
			t.Errorf("%s is %d, %v", path, got.Code, h)
		}
		got = httptest.NewRecorder()
		mux.ServeHTTP(got, httptest.NewRequest(http.MethodPost, path, nil))
		if got.Code != http.StatusMethodNotAllowed {
			t.Errorf("POST %s is %d", path, got.Code)
		}
	}
	got := httptest.NewRecorder()
	mux.ServeHTTP(got, httptest.NewRequest(http.MethodGet, "/page.go", nil))
	if got.Code != http.StatusNotFound {
		t.Errorf("/page.go is %d", got.Code)
	}
	for _, loose := range []string{"unsafe-", "data:", "http:", "*"} {
		if strings.Contains(policy, loose) {
			t.Errorf("the policy has %s", loose)
		}
	}
}

// Nothing in the page has a script or a style of its own, comes from elsewhere, or makes markup of
// text.
func TestNothingInline(t *testing.T) {
	for name, wrong := range map[string]string{
		"files/page.html": `(?i)<style|<script[^>]*>[^<]|\son[a-z]+\s*=|\sstyle\s*=|https?://|javascript:`,
		"files/page.js":   `innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|createContextualFragment|https?://|\.cssText|setAttribute\("(on|style)`,
		"files/page.css":  `url\(|@import|https?:`,
	} {
		text, err := files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if found := regexp.MustCompile(wrong).Find(text); found != nil {
			t.Errorf("%s has %q", name, found)
		}
	}
}

// What the script looks for is in the page.
func TestElements(t *testing.T) {
	html, _ := files.ReadFile("files/page.html")
	js, _ := files.ReadFile("files/page.js")
	for _, m := range regexp.MustCompile(`\$\("([a-z-]+)"\)`).FindAllSubmatch(js, -1) {
		if !strings.Contains(string(html), `id="`+string(m[1])+`"`) {
			t.Errorf("the page has no element %s", m[1])
		}
	}
}
