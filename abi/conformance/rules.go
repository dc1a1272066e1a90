package conformance

import (
	"regexp"
	"strings"
)

// Sentence is a sentence of ABI.md, or a row of one of its tables.
type Sentence struct {
	// Text is as it stands there, in one line.
	Text string
	// Heading is the one that it stands below, as text, and Anchor how a link names it.
	Heading, Anchor string
	// Row: it is a row of a table.
	Row bool
}

var (
	fence    = regexp.MustCompile("(?s)```.*?```")
	notes    = regexp.MustCompile(`(?s)<!--.*?-->`)
	boundary = regexp.MustCompile("\\.\\s+[A-Z`*0-9]")
	anchor   = regexp.MustCompile(`[^a-z0-9_ -]`)
	// binding are the words of a sentence that says what a host or a guest has to do, and the codes
	// that it has to answer.
	binding = regexp.MustCompile(`\b(must|shall|never|always|exactly|cannot|no error|is an error|refuses|INVALID|BAD_HANDLE|AGAIN|CLOSED|DENIED|QUOTA|TIMEOUT|REFUSED)\b`)
)

// Sentences are those of a page in the Markdown of ABI.md, in its order; code and lists of what is
// generated beside a function (its errors, the callbacks that follow) are left out.
func Sentences(page string) (all []Sentence) {
	page = notes.ReplaceAllString(fence.ReplaceAllString(page, ""), "")
	var at Sentence
	var part []string
	flush := func() {
		text := strings.Join(part, " ")
		part = nil
		if strings.HasPrefix(text, "Errors: ") || strings.HasPrefix(text, "Callbacks that follow: ") {
			return
		}
		for _, s := range split(text) {
			all = append(all, Sentence{Text: s, Heading: at.Heading, Anchor: at.Anchor})
		}
	}
	for line := range strings.Lines(page) {
		line = strings.TrimRight(line, "\n")
		item, isItem := strings.CutPrefix(line, "- ")
		switch {
		case strings.HasPrefix(line, "#"):
			flush()
			at.Heading = strings.TrimLeft(line, "# ")
			at.Anchor = strings.ReplaceAll(anchor.ReplaceAllString(strings.ToLower(at.Heading), ""), " ", "-")
		case strings.HasPrefix(line, "|"):
			flush()
			all = append(all, Sentence{Text: line, Heading: at.Heading, Anchor: at.Anchor, Row: true})
		case isItem:
			flush()
			part = append(part, item)
		case strings.TrimSpace(line) == "":
			flush()
		default:
			part = append(part, strings.TrimSpace(line))
		}
	}
	flush()
	return all
}

// split cuts a paragraph into sentences: behind a full stop before a capital letter, a number or a
// name.
func split(text string) (all []string) {
	for {
		i := boundary.FindStringIndex(text)
		if i == nil {
			break
		}
		all = append(all, text[:i[0]+1])
		text = text[i[1]-1:]
	}
	if text != "" {
		all = append(all, text)
	}
	return all
}

// Binds reports whether a sentence says what a host or a guest has to do, so that it needs a case.
// The list of codes does not: it says what each means.
func (s *Sentence) Binds() bool {
	return binding.MatchString(s.Text) && s.Heading != "Codes"
}
