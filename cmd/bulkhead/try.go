package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"bulkhead/host"
	"bulkhead/internal/dev"
	"bulkhead/internal/play"
	"bulkhead/internal/talk"
	"bulkhead/internal/wholefile"

	"github.com/spf13/cobra"
)

func tryCommand() *cobra.Command {
	t := &trial{}
	c := &cobra.Command{
		Use:   "try X.wasm|X.js|X.ts|X.py|X.lua",
		Short: "Talk to a handler, or play conversations with it, without a daemon",
		Long: `Try serves one handler in this process. Without --script it connects you to the
handler: what you type is sent line by line, what it answers is printed, and its
log goes to standard error. An end of input (Ctrl-D) ends what you send.

With --script it plays the conversations of the files, which say what is sent and
what must come back: docs/TALK.md. With --pcap those of a capture of tcpdump or
Wireshark are played: what the clients have sent, and what the server of a port has
answered; bulkhead talk writes them down. With --fuzz what the clients send is changed,
over and over, and what makes the handler fail is written to a file as a conversation. Each is played as written, byte by byte, cut at
random, with short sends, with the client's end right behind its last bytes, without
a snapshot, and with --instance loop or listener beside other clients, since what a
handler answers may not depend on it. What fails in one way only has a likely cause,
which is said with its mend. With --update it first writes into the file what happens in
place of what is expected; comments, order and patterns that match stay. --record
adds a session at the terminal to a file as a conversation, whose answers are those
that the handler gives when the same is sent once more. With -v it says what each event
costs, and --profile writes in which functions fuel goes. Time is virtual, so nothing waits, and the time of day and
random bytes are the same each time. The exit status is 1 when a conversation does
not go as it is written.`,
		Args: one("X.wasm"),
		RunE: func(c *cobra.Command, args []string) error {
			t.handler = play.Handler{Plugin: args[0], Instance: t.handler.Instance, Compiler: compileWith, State: tryState(), Engines: &host.Engines{}}
			defer t.handler.Engines.Close()
			t.out, t.errs = c.OutOrStdout(), c.ErrOrStderr()
			switch {
			case t.port != 0 && t.pcap == "":
				return errors.New("--port is the server's port in a capture: give the capture with --pcap")
			case t.fuzz != "" && !t.plays():
				return errors.New("--fuzz changes what the clients of conversations send: give conversations with --script or --pcap")
			case t.profile != "" && !t.plays():
				return errors.New("--profile says where the fuel of conversations goes: give conversations with --script or --pcap")
			case t.record != "" && t.plays():
				return errors.New("--record keeps what you say to the handler, and --script, --update and --pcap play what files say: leave one of them out")
			case !t.plays():
				return t.located(t.talk(c))
			}
			return t.located(t.run(c))
		},
	}
	f := c.Flags()
	f.StringArrayVar(&t.scripts, "script", nil, "play the conversations of this `FILE`; it may be given more than once")
	f.StringArrayVar(&t.updates, "update", nil, "write into this `FILE` what happens, in place of what it expects; then play it")
	f.StringVar(&t.pcap, "pcap", "", "play the client's side of a capture, this `FILE`, and compare the server's")
	f.Uint16Var(&t.port, "port", 0, "the server's port in the capture, if there is more than one")
	f.StringVar(&t.fuzz, "fuzz", "", "then play mutants of the conversations, for a time such as 10s or so many as this `NUMBER`")
	f.StringVar(&t.fuzzOut, "fuzz-out", "", "write the conversation of a mutant that fails to this `FILE`; left out: X.fuzz.talk in this folder")
	f.StringVar(&t.record, "record", "", "add the session to this `FILE` as a conversation")
	f.StringVar(&t.handler.Instance, "instance", "", "connection, loop or listener: which connections share an instance, as in a listener's configuration")
	f.StringVar(&t.which, "run", "", "play only conversations whose names match this `REGEXP`")
	f.Uint64Var(&t.seed, "seed", 1, "cut at the places that belong to this `NUMBER`")
	f.StringVar(&t.profile, "profile", "", "write to this `FILE`, for speedscope, in which functions the fuel of each conversation goes")
	f.BoolVarP(&t.verbose, "verbose", "v", false, "print what the handler logs in each conversation, and what each line and each event costs")
	f.BoolVar(&t.json, "json", false, "print a line of JSON for each way in which a conversation was played")
	return c
}

// located says an error about a place in the handler's source as editors read it, with that place
// first, as dev does. Other errors it returns.
func (t *trial) located(err error) error {
	plugin, bad := filepath.Abs(t.handler.Plugin)
	here, worse := os.Getwd()
	if err == nil || bad != nil || worse != nil {
		return err
	}
	shown := func(path string) string {
		if rel, err := filepath.Rel(here, path); err == nil && filepath.IsLocal(rel) {
			return rel
		}
		return path
	}
	place := dev.FindPlace(err.Error(), []string{filepath.Dir(plugin)}, shown)
	if place == "" {
		return err
	}
	fmt.Fprintf(t.errs, "%s: %s\n", place, strings.TrimPrefix(err.Error(), filepath.Base(place)+": "))
	return errFailed
}

// tryState is where modules that were compiled for try are kept; "": nowhere.
func tryState() string {
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	folder := filepath.Join(cache, "bulkhead", "try")
	if os.MkdirAll(folder, 0o700) != nil {
		return ""
	}
	return folder
}

// trial is what try was asked to do with conversations.
type trial struct {
	handler       play.Handler
	scripts       []string
	updates       []string
	pcap          string
	port          uint16
	fuzz, fuzzOut string
	record        string
	which         string
	seed          uint64
	verbose, json bool
	profile       string // a file
	profiled      play.Profile
	quiet         bool // nothing is said of a conversation that goes as written
	out, errs     io.Writer
}

// plays reports whether there are conversations to play.
func (t *trial) plays() bool { return len(t.scripts)+len(t.updates) > 0 || t.pcap != "" }

func (t *trial) run(c *cobra.Command) error {
	which, err := regexp.Compile(t.which)
	if err != nil {
		return fmt.Errorf("--run %s: %w", t.which, err)
	}
	bound, err := parseFuzz(t.fuzz)
	if err != nil {
		return err
	}
	for _, name := range t.updates {
		if err := t.update(c, name, which); err != nil {
			return err
		}
	}
	var files []*talk.File
	for _, name := range slices.Concat(t.scripts, t.updates) {
		_, f, err := t.read(name)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	if t.pcap != "" {
		f, err := t.readCapture()
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	played, failed := 0, 0
	var all []*talk.Case
	for _, f := range files {
		for _, one := range f.Cases {
			if !which.MatchString(one.Name) {
				continue
			}
			all = append(all, one)
			ok, err := t.play(c.Context(), f, one)
			if err != nil {
				return err
			}
			played++
			switch {
			case !ok:
				failed++
			case t.profile != "":
				if err := t.addProfile(c.Context(), f, one); err != nil {
					return err
				}
			}
		}
	}
	switch {
	case played == 0:
		return errors.New("no conversation has such a name")
	case t.profile != "" && failed < played:
		if err := t.writeProfile(); err != nil {
			return err
		}
	}
	switch {
	case failed > 0:
		fmt.Fprintf(t.errs, "%d of %d conversations did not go as they are written\n", failed, played)
		if t.pcap != "" {
			fmt.Fprintf(t.errs, "bulkhead talk %s --port %d -o %s writes those of the capture\n", t.pcap, t.port, captured(t.pcap))
		}
		return errFailed
	}
	if t.fuzz == "" {
		return nil
	}
	return t.playMutants(c, all, bound)
}

// read reads a file of conversations. It says what is wrong in a line itself.
func (t *trial) read(name string) (text []byte, f *talk.File, err error) {
	if text, err = os.ReadFile(name); err != nil {
		return nil, nil, err
	}
	if f, err = talk.Parse(name, text); err != nil {
		fmt.Fprintln(t.errs, err) // which begins with the file and the line
		return nil, nil, errFailed
	}
	return text, f, nil
}

// captured is what the conversations of a capture are called.
func captured(pcap string) string { return filepath.Base(pcap) + ".talk" }

// readCapture has the conversations of the capture, and notes their port.
func (t *trial) readCapture() (*talk.File, error) {
	text, port, err := conversations(t.errs, t.pcap, t.port)
	if err != nil {
		return nil, err
	}
	t.port = port
	return talk.Parse(captured(t.pcap), text)
}

// update writes into the file what happens.
func (t *trial) update(c *cobra.Command, name string, which *regexp.Regexp) error {
	text, f, err := t.read(name)
	if err != nil {
		return err
	}
	changed := 0
	for i, one := range f.Cases {
		if !which.MatchString(one.Name) {
			continue
		}
		r, edits, err := play.Update(c.Context(), t.handler, one)
		if err != nil {
			return err
		}
		if r.Failure != nil {
			t.writeFailure(f, r)
			continue
		}
		if !edits.Any() {
			continue
		}
		changed++
		text = edits.Apply(text)
		again, err := talk.Parse(name, text) // its lines have moved
		if err != nil {
			return fmt.Errorf("the file was left as it is, since what happens makes a conversation that cannot be read: %w", err)
		}
		copy(f.Cases[i+1:], again.Cases[i+1:])
	}
	if changed == 0 {
		fmt.Fprintf(t.errs, "%s: nothing has changed\n", name)
		return nil
	}
	if err := wholefile.Write(name, text); err != nil {
		return err
	}
	fmt.Fprintf(t.errs, "%s: %d of %d conversations have changed\n", name, changed, len(f.Cases))
	return nil
}

// talk connects the terminal to the handler, and records what is said if it was asked to.
func (t *trial) talk(c *cobra.Command) error {
	if t.record == "" {
		return play.Interactive(c.Context(), t.handler, c.InOrStdin(), t.out, t.errs, nil)
	}
	text, err := os.ReadFile(t.record)
	number := 1
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		f, err := talk.Parse(t.record, text)
		if err != nil {
			fmt.Fprintln(t.errs, err)
			return errFailed
		}
		for slices.ContainsFunc(f.Cases, func(one *talk.Case) bool { return one.Name == sessionName(number) }) {
			number++
		}
	}
	recording := &play.Recording{}
	err = play.Interactive(c.Context(), t.handler, c.InOrStdin(), t.out, t.errs, recording)
	if err != nil && c.Context().Err() == nil {
		return err
	}
	said, err := recording.Conversation(context.WithoutCancel(c.Context()), t.handler, sessionName(number))
	if err != nil {
		return fmt.Errorf("%s was left as it is: %w", t.record, err)
	}
	if len(text) > 0 {
		said = strings.TrimRight(string(text), "\n") + "\n\n" + said
	}
	if err := wholefile.Write(t.record, []byte(said)); err != nil {
		return err
	}
	if recording.Full() {
		fmt.Fprintln(t.errs, "only the first MiB of what was sent is in the conversation")
	}
	fmt.Fprintf(t.errs, "%s has the session as the conversation %q\n", t.record, sessionName(number))
	return nil
}

// sessionName is what a recorded conversation is called.
func sessionName(n int) string { return fmt.Sprintf("session %d", n) }

// play plays one conversation in all ways, up to the first that fails.
func (t *trial) play(ctx context.Context, f *talk.File, one *talk.Case) (ok bool, err error) {
	var first *play.Report
	ways := play.Variants(t.seed)
	played := 0
	for _, way := range ways {
		if !way.Suits(t.handler, one) {
			continue
		}
		played++
		r, err := play.Play(ctx, t.handler, one, way)
		if err != nil {
			return false, err
		}
		if first == nil {
			first = r
		}
		if t.json {
			t.writeJSON(f, r)
		}
		if r.Failure != nil {
			if !t.json {
				t.writeFailure(f, r)
			}
			return false, nil
		}
		if t.verbose && !t.json {
			for _, line := range r.Log {
				fmt.Fprintf(t.out, "log   %s\n", line)
			}
			if r == first {
				t.writeCosts(f, r)
			}
		}
	}
	if !t.json && !t.quiet {
		most := ""
		if c, ok := first.Costliest(); ok {
			most = fmt.Sprintf(", most for line %d: %d", c.Line, c.Fuel)
			if call, ok := c.Costliest(); ok {
				most += " in " + call.Export
			}
		}
		fmt.Fprintf(t.out, "ok    %s: %d ways, %d events, %d fuel%s\n", one.Name, played, first.Events, first.Fuel, most)
	}
	return true, nil
}

// writeCosts writes what each line has cost, and below it each call of the handler.
func (t *trial) writeCosts(f *talk.File, r *play.Report) {
	for _, c := range r.Costs {
		fmt.Fprintf(t.out, "cost  %s:%d: %d fuel, %d events, %+d bytes of memory\n", f.Name, c.Line, c.Fuel, c.Events, c.Memory)
		for _, call := range c.Calls {
			var b strings.Builder
			for _, name := range slices.Sorted(maps.Keys(call.HostCalls)) {
				fmt.Fprintf(&b, ", %s %d", name, call.HostCalls[name])
			}
			who := call.Export
			if call.Peer != "" {
				who += " of " + call.Peer
			}
			fmt.Fprintf(t.out, "        %s: %d fuel, memory of %d bytes%s\n", who, call.Fuel, call.Memory, &b)
		}
	}
}

// sampleEvery is how much fuel there is from one look at the handler's stack to the next, for
// --profile.
const sampleEvery = 250

// addProfile plays a conversation that goes well once more, and looks where fuel goes.
func (t *trial) addProfile(ctx context.Context, f *talk.File, one *talk.Case) error {
	h := t.handler
	h.SampleEvery = sampleEvery
	r, err := play.Play(ctx, h, one, play.Written)
	if err != nil {
		return err
	}
	if r.Failure != nil {
		return fmt.Errorf("--profile: %s goes otherwise when its fuel is looked at: %s:%d: %w", one.Name, f.Name, r.Failure.Line, r.Failure)
	}
	t.profiled.Add(f.Name, r)
	return nil
}

// writeProfile writes the file of --profile.
func (t *trial) writeProfile() error {
	text, err := t.profiled.Speedscope()
	if err != nil {
		return err
	}
	return wholefile.Write(t.profile, text)
}

// mostShown is how many bytes of a difference are printed.
const mostShown = 200

func (t *trial) writeFailure(f *talk.File, r *play.Report) {
	e := r.Failure
	fmt.Fprintf(t.out, "FAIL  %s, %s\n%s:%d: %s\n", r.Case.Name, r.Variant.Name, f.Name, e.Line, e.What)
	switch {
	case e.Pattern != "":
		fmt.Fprintf(t.out, "  want  ~ %s\n", e.Pattern)
	case e.Want != nil:
		fmt.Fprintf(t.out, "  want  %s\n", shown(e.Want))
	}
	if e.Pattern != "" || e.Want != nil || len(e.Got) > 0 {
		fmt.Fprintf(t.out, "  got   %s\n", shown(e.Got))
	}
	if n := differs(e.Want, e.Got); e.Want != nil && len(e.Got) > 0 {
		fmt.Fprintf(t.out, "  they differ at byte %d\n", n)
	}
	for _, line := range r.Log {
		fmt.Fprintf(t.out, "  log   %s\n", line)
	}
	if v := r.Variant; v.Cause != "" { // the ways before it went well
		fmt.Fprintf(t.out, "  cause likely: %s\n  mend  %s\n", v.Cause, v.Mend)
	}
}

// shown is bytes in one line: in quotes if they are text, else in hex.
func shown(b []byte) string {
	more := ""
	if len(b) > mostShown {
		more = fmt.Sprintf(" and %d bytes more", len(b)-mostShown)
		b = b[:mostShown]
	}
	if len(b) == 0 {
		return "nothing"
	}
	return strings.Join(talk.Lines("", b, ""), "")[1:] + more
}

// differs is the place of the first byte that differs.
func differs(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

func (t *trial) writeJSON(f *talk.File, r *play.Report) {
	type failure struct {
		Line int    `json:"line"`
		What string `json:"what"`
		// Bytes are in base64.
		Want    []byte `json:"want,omitempty"`
		Got     []byte `json:"got,omitempty"`
		Pattern string `json:"pattern,omitempty"`
		Cause   string `json:"cause,omitempty"` // the likely one
		Mend    string `json:"mend,omitempty"`
	}
	v := struct {
		File    string      `json:"file"`
		Case    string      `json:"case"`
		Line    int         `json:"line"`
		Way     string      `json:"way"`
		OK      bool        `json:"ok"`
		Failure *failure    `json:"failure,omitempty"`
		Events  int         `json:"events"`
		Fuel    int64       `json:"fuel"`
		Costs   []play.Cost `json:"costs"`
		Log     []string    `json:"log"`
	}{f.Name, r.Case.Name, r.Case.Line, r.Variant.Name, r.Failure == nil, nil, r.Events, r.Fuel, append([]play.Cost{}, r.Costs...), append([]string{}, r.Log...)}
	if e := r.Failure; e != nil {
		v.Failure = &failure{e.Line, e.What, e.Want, e.Got, e.Pattern, r.Variant.Cause, r.Variant.Mend}
	}
	_ = json.NewEncoder(t.out).Encode(v)
}
