package play

import (
	"encoding/json"
	"fmt"
)

// Profile says in which functions of a handler fuel goes. It is made of Reports of a Handler with
// SampleEvery, and written as a file of speedscope. The zero value is empty.
type Profile struct {
	frames   []frame
	places   map[frame]int
	profiles []sampled
}

// frame is a function, or a line of a conversation.
type frame struct {
	Name string `json:"name"`
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
}

// sampled is what was seen of one conversation: stacks of frames, the outermost first, and how much
// fuel was used with each.
type sampled struct {
	Type    string  `json:"type"`
	Name    string  `json:"name"`
	Unit    string  `json:"unit"`
	Start   int64   `json:"startValue"`
	End     int64   `json:"endValue"`
	Samples [][]int `json:"samples"`
	Weights []int64 `json:"weights"`
}

// Add adds a conversation of a file. Of each line it has the calls of callbacks, in their order,
// and of each call the functions below it, as often as they were seen. What a call used between two
// looks is its own.
func (p *Profile) Add(file string, r *Report) {
	s := sampled{Type: "sampled", Name: r.Case.Name, Unit: "none", Samples: [][]int{}, Weights: []int64{}}
	for _, c := range r.Costs {
		line := p.place(frame{fmt.Sprintf("line %d", c.Line), file, c.Line})
		for _, call := range c.Calls {
			for _, stack := range call.stacks {
				at := []int{line, p.place(frame{Name: call.Export})}
				for n, function := range stack.Functions {
					if n == 0 && function == call.Export {
						continue // it stands there
					}
					at = append(at, p.place(frame{Name: function}))
				}
				s.Samples, s.Weights, s.End = append(s.Samples, at), append(s.Weights, stack.Fuel), s.End+stack.Fuel
			}
		}
	}
	p.profiles = append(p.profiles, s)
}

// place is that of a frame among those that there are.
func (p *Profile) place(f frame) int {
	at, ok := p.places[f]
	if !ok {
		if p.places == nil {
			p.places = make(map[frame]int)
		}
		at = len(p.frames)
		p.frames, p.places[f] = append(p.frames, f), at
	}
	return at
}

// Speedscope is the profile as a file of speedscope: one profile for each conversation, whose unit
// is fuel.
func (p *Profile) Speedscope() ([]byte, error) {
	type shared struct {
		Frames []frame `json:"frames"`
	}
	return json.Marshal(struct {
		Schema   string    `json:"$schema"`
		Exporter string    `json:"exporter"`
		Shared   shared    `json:"shared"`
		Profiles []sampled `json:"profiles"`
	}{"https://www.speedscope.app/file-format-schema.json", "bulkhead try", shared{append([]frame{}, p.frames...)}, append([]sampled{}, p.profiles...)})
}
