package bundle

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"bulkhead/plugins/compiler"
)

// taskName is the argument by which a child makes a bundle.
const taskName = "bundle"

// Task is what the child does, for compiler.Main.
func Task() compiler.Task { return compiler.Task{Name: taskName, Do: work} }

// said is a line of the child's: a question, or the result.
type said struct {
	Script bool    `json:"script,omitempty"` // asks for the script itself
	Read   string  `json:"read,omitempty"`   // asks what lies at a path
	Result *result `json:"result,omitempty"`
}

func (s *said) parse(line []byte) error { return json.Unmarshal(line, s) }

// result is what becomes of a script.
type result struct {
	Code     []byte   `json:"code,omitempty"`
	Plain    bool     `json:"plain,omitempty"` // the script's own file is the bundle
	Errors   []string `json:"errors,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// send writes an answer: a line, and the content.
func send(to io.Writer, a answer) error {
	head, err := json.Marshal(a)
	if err == nil {
		_, err = to.Write(append(head, '\n'))
	}
	if err == nil && len(a.content) > 0 {
		_, err = to.Write(a.content)
	}
	return err
}

// work is the child's life.
func work(in io.Reader, out io.Writer) error {
	p := newParent(in, out)
	script := p.ask(said{Script: true})
	if script.Kind != isFile {
		p.err = errors.Join(p.err, errors.New("the compiler was given no script"))
	}
	if p.err != nil {
		return p.err
	}
	r := build(script.Real, func(path string) answer {
		if path == script.Real {
			return script
		}
		return p.ask(said{Read: path})
	})
	if p.err != nil {
		return p.err
	}
	return p.out.Encode(said{Result: &r})
}

// parent is whom a child asks. Any goroutine may.
type parent struct {
	mu  sync.Mutex
	in  *bufio.Reader
	out *json.Encoder
	err error // the first: from then on nothing is there
}

func newParent(in io.Reader, out io.Writer) *parent {
	return &parent{in: bufio.NewReader(in), out: json.NewEncoder(out)}
}

func (p *parent) ask(q said) (a answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return answer{Kind: isAbsent}
	}
	if a, p.err = p.exchange(q); p.err != nil {
		p.err = fmt.Errorf("the compiler could not ask for a file: %w", p.err)
		return answer{Kind: isAbsent}
	}
	return a
}

func (p *parent) exchange(q said) (a answer, err error) {
	if err = p.out.Encode(q); err != nil {
		return a, err
	}
	line, err := p.in.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &a)
	}
	if err == nil && a.Size > 0 {
		a.content = make([]byte, a.Size)
		_, err = io.ReadFull(p.in, a.content)
	}
	return a, err
}
