// Package guard stands before HTTP that more than its own user can reach: on TCP, where each user
// of the machine, and each web page that a browser on it shows, can send a request. Rules say what
// passes; Server and Bounded bound what a client may take.
package guard

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

// Rules say which requests pass. They are not changed once Guard was called.
type Rules struct {
	// Hosts are those that a request may name as its own: a page whose name was made to lead here
	// (DNS rebinding) names another. None: no request passes.
	Hosts []Host
	// Token is for requests that change something. Its zero value: none of them passes.
	Token Token
	// ReadByToken says that reading needs the token too.
	ReadByToken bool
	// Public are paths that everybody reads all the same, such as those of a page that has yet to
	// send the token. nil: none.
	Public func(path string) bool
	// Local says that whoever comes in may do everything: the door itself keeps others out, and a
	// token is neither needed nor looked at.
	Local bool
	// Refused is called for each request that does not pass, by its goroutine. nil: nobody is.
	Refused func(r *http.Request, why *Refusal)
}

// Refusal says why a request does not pass.
type Refusal struct {
	// Status is that of the answer.
	Status int
	// What is the reason as one word of Reasons.
	What string
	// Message is for whoever has sent the request.
	Message string
}

// Reasons are all that a Refusal's What can be: what is wrong with the request.
func Reasons() []string {
	return []string{"body", "host", "method", "origin", "path", "token", "type"}
}

// Error is the message.
func (r *Refusal) Error() string { return r.Message }

// mostDiscarded is how many bytes of a body are read of a request that does not pass.
const mostDiscarded = 4 * MostBody

// MostPath is how many bytes the path of a request may have.
const MostPath = 1 << 10

// Guard gives a handler that passes on what the rules let pass, and answers the rest with a JSON
// object that has a message. What passes is GET, HEAD, and POST with a body of JSON; only POST may
// change something. It adds the headers that keep other pages from the answer; next may replace
// Content-Security-Policy by its own. A body is bounded by MostBody.
func (r Rules) Guard(next http.Handler) http.Handler {
	own := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		Protect(w.Header())
		holder, why := r.judge(own, q)
		if why != nil {
			if r.Refused != nil {
				r.Refused(q, why)
			}
			// Who is still sending may not look for an answer.
			_, _ = io.CopyN(io.Discard, q.Body, mostDiscarded)
			refuse(w, why)
			return
		}
		if q.Method == http.MethodPost {
			q.Body = http.MaxBytesReader(w, q.Body, MostBody)
		} else {
			// All of the request is there: a long answer does not end with the time to send it.
			_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
		}
		next.ServeHTTP(w, q.WithContext(context.WithValue(q.Context(), holderKey{}, holder)))
	})
}

// holderKey is where a request's context has whether it came with the token.
type holderKey struct{}

// HasToken reports whether the request that has this context came with the right token.
func HasToken(ctx context.Context) bool {
	holder, _ := ctx.Value(holderKey{}).(bool)
	return holder
}

// judge says whether a request has the token, or why it does not pass.
func (r *Rules) judge(own *http.CrossOriginProtection, q *http.Request) (holder bool, why *Refusal) {
	if why = r.judgeHost(q); why != nil {
		return false, why
	}
	if why = judgeOrigin(own, q); why != nil {
		return false, why
	}
	if why = judgeForm(q); why != nil {
		return false, why
	}
	return r.judgeToken(q)
}

func (r *Rules) judgeHost(q *http.Request) *Refusal {
	no := func(format string, args ...any) *Refusal {
		return &Refusal{http.StatusMisdirectedRequest, "host", fmt.Sprintf(format, args...)}
	}
	if q.URL.Host != "" {
		return no("the request is for a proxy, and this is none")
	}
	host, err := ParseHost(q.Host)
	if err != nil {
		return no("the request's Host is %q: %v", clip(q.Host), err)
	}
	for _, own := range r.Hosts {
		if own == host {
			return nil
		}
	}
	return no("this is not %q; come by a name that the daemon was given, or by its address", host)
}

// judgeOrigin refuses what a page of somebody else's has a browser send, reading too.
func judgeOrigin(own *http.CrossOriginProtection, q *http.Request) *Refusal {
	no := &Refusal{http.StatusForbidden, "origin", "another page has sent this request, and only this daemon's own may"}
	for _, site := range q.Header.Values("Sec-Fetch-Site") {
		if site != "same-origin" && site != "none" {
			return no
		}
	}
	for _, origin := range q.Header.Values("Origin") {
		from, is := strings.CutPrefix(origin, "http://")
		host, err := ParseHost(from)
		if !is || err != nil {
			return no
		}
		if asked, err := ParseHost(q.Host); err != nil || host != asked {
			return no
		}
	}
	if own.Check(q) != nil {
		return no
	}
	return nil
}

// judgeForm looks at the method, the path, and what is said of the body.
func judgeForm(q *http.Request) *Refusal {
	switch q.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	default:
		return &Refusal{http.StatusMethodNotAllowed, "method", fmt.Sprintf("the method %s is not understood; use GET to read, and POST to change", clip(q.Method))}
	}
	if p := q.URL.Path; len(p) > MostPath || !isShortest(p) || q.URL.RawPath != "" || !printable(p) {
		return &Refusal{http.StatusBadRequest, "path", "the path is not in its shortest form"}
	}
	if q.Method != http.MethodPost {
		if q.ContentLength != 0 {
			return &Refusal{http.StatusBadRequest, "body", "a request that reads has no body"}
		}
		return nil
	}
	if q.ContentLength > MostBody {
		return &Refusal{http.StatusRequestEntityTooLarge, "body", fmt.Sprintf("the body has %d bytes, of at most %d", q.ContentLength, MostBody)}
	}
	if !isJSON(q.Header) {
		return &Refusal{http.StatusUnsupportedMediaType, "type", "the body has to be JSON, and the header to say so: Content-Type: application/json"}
	}
	return nil
}

// isJSON reports whether a header says that the body is JSON, as it stands and in UTF-8.
func isJSON(h http.Header) bool {
	types := h.Values("Content-Type")
	if len(types) != 1 || h.Get("Content-Encoding") != "" {
		return false
	}
	kind, parameters, err := mime.ParseMediaType(types[0])
	if err != nil || kind != "application/json" {
		return false
	}
	for name, value := range parameters {
		if name != "charset" || !strings.EqualFold(value, "utf-8") {
			return false
		}
	}
	return true
}

func (r *Rules) judgeToken(q *http.Request) (holder bool, why *Refusal) {
	if r.Local {
		return false, nil
	}
	no := func(message string) *Refusal { return &Refusal{http.StatusUnauthorized, "token", message} }
	if given := q.Header.Values("Authorization"); len(given) > 0 {
		text, is := bearer(given)
		if !is {
			return false, no("the header has to be as this: Authorization: Bearer TOKEN")
		}
		if !r.Token.Is(text) {
			return false, no("the token is not the daemon's")
		}
		return true, nil
	}
	switch reads := q.Method != http.MethodPost; {
	case reads && !r.ReadByToken || reads && r.Public != nil && r.Public(q.URL.Path):
		return false, nil
	case r.Token.IsZero():
		return false, &Refusal{http.StatusForbidden, "token", "nothing is changed by this way in; use admin.sock in the state folder, or give [admin] a token"}
	}
	return false, no("this needs the token: Authorization: Bearer TOKEN")
}

// bearer takes the token out of a request's Authorization headers.
func bearer(given []string) (token string, ok bool) {
	if len(given) != 1 {
		return "", false
	}
	scheme, token, ok := strings.Cut(given[0], " ")
	return token, ok && strings.EqualFold(scheme, "Bearer")
}

// Protect has browsers keep an answer from other pages, and from their caches, and run nothing of
// it. Guard calls it for each answer.
func Protect(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
}

func refuse(w http.ResponseWriter, why *Refusal) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTime))
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Connection", "close") // what is left of the body is not looked at
	switch why.Status {
	case http.StatusMethodNotAllowed:
		h.Set("Allow", "GET, HEAD, POST")
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="bulkhead"`)
	}
	w.WriteHeader(why.Status)
	text, _ := json.Marshal(struct { // a string always can be written
		Message string `json:"message"`
	}{why.Message})
	_, _ = w.Write(append(text, '\n'))
}

// isShortest reports whether a path is absolute and has no part that leads nowhere.
func isShortest(p string) bool {
	clean := path.Clean(p)
	return strings.HasPrefix(p, "/") && (p == clean || p == clean+"/" && clean != "/")
}

// printable reports whether a text has neither controls nor what is not ASCII in it.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == '\\' {
			return false
		}
	}
	return true
}

// clip keeps what others have written short.
func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "..."
	}
	return s
}
