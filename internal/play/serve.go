package play

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bulkhead/host"
	"bulkhead/host/access"
	"bulkhead/host/config"
	"bulkhead/internal/talk"
	"bulkhead/plugins/admit"
	"bulkhead/selector"
)

// name is that of the tenant and of the listener.
const name = "try"

// stage is a host that serves the handler, in virtual time.
type stage struct {
	folder string
	host   *host.Host
	// perConnection says that each connection has an instance of its own.
	perConnection bool
	clock         *selector.Manual // nil: it is the system's
	log           *journal
	access        *access.Log
	dials         *dials
	done          chan error
	drawn         atomic.Uint64 // how often random bytes were drawn for the conversation
	aside         atomic.Uint64 // and for visitors
	visits        atomic.Bool   // a visitor is served, and nobody else

	mu    sync.Mutex
	calls []Call // of the handler, that no line has yet
	fuel  int64  // of all its calls
}

// noon is the time of day at which each conversation begins, in nanoseconds.
var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC).UnixNano()

// serve starts a host for one conversation. Without a clock time is the system's, and so are the
// time of day and random bytes. When ctx is done before the host serves, its compilers end.
func (h Handler) serve(ctx context.Context, c *talk.Case, v Variant, clock *selector.Manual) (_ *stage, err error) {
	if h.Plugin, err = filepath.Abs(h.Plugin); err != nil {
		return nil, err
	}
	s := &stage{perConnection: h.perConnection(), clock: clock, log: newJournal(), dials: &dials{}, done: make(chan error, 1)}
	if s.folder, err = os.MkdirTemp("", "bulkhead-try-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(s.folder)
		}
	}()
	path := filepath.Join(s.folder, "bulkhead.toml")
	stdio, err := admit.IsProgram(h.Plugin)
	if err != nil {
		return nil, err
	}
	if stdio && clock != nil {
		return nil, fmt.Errorf("%s is a program (shape = \"stdio\"): it reads and sleeps when it likes, so nobody can tell when it has nothing more to do, and time cannot be virtual; talk to it without --script, or test it over a socket with bulkhead run", filepath.Base(h.Plugin))
	}
	text, lines := h.toml(c, v, stdio)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cfg, err := config.Load(path)
	if err != nil {
		return nil, h.blame(err, lines)
	}
	s.access = access.New(s.log)
	if err := s.access.Set("stdout", 1); err != nil {
		return nil, err
	}
	o := host.Options{Log: slog.New(s.log), Access: s.access, Compiler: h.Compiler, Engines: h.Engines, Loading: ctx, Redirect: s.dials.redirect, RootCAs: trusted()}
	if clock != nil {
		o.Clock = clock
		o.Wall = func() int64 { return noon + clock.Now() }
		o.Random = s.draw
		o.Observer = &host.Observer{Called: s.called, Every: h.SampleEvery}
	}
	if v.short {
		o.ShortSends = shortSend
	}
	s.host, err = host.New(cfg, o)
	if err != nil {
		s.access.Close()
		return nil, h.blame(err, lines)
	}
	go func() { s.done <- s.host.Run(context.Background()) }()
	<-s.host.Serving()
	return s, nil
}

// address is where the handler listens.
func (s *stage) address() string { return s.host.Addr(name) }

// close ends the host and all that it has.
func (s *stage) close() {
	s.dials.close()
	s.host.Close()
	<-s.done
	s.access.Close()
	os.RemoveAll(s.folder)
}

// draw fills p with random bytes. Those for visitors are others, so that a conversation has the
// same with them and without.
func (s *stage) draw(p []byte) {
	if s.visits.Load() {
		fixed(p, 1<<32+s.aside.Add(1))
		return
	}
	fixed(p, s.drawn.Add(1))
}

// fixed fills p with bytes that are the same each time, the nth time that some are drawn.
func fixed(p []byte, n uint64) {
	var block [8]byte
	for i := range p {
		if i%8 == 0 {
			n = n*6364136223846793005 + 1442695040888963407
			binary.BigEndian.PutUint64(block[:], n)
		}
		p[i] = block[i%8]
	}
}

// toml is the configuration, and for each of its lines that is the conversation's the line there.
func (h *Handler) toml(c *talk.Case, v Variant, stdio bool) (text string, lines map[int]int) {
	var b strings.Builder
	line := 1
	put := func(format string, args ...any) {
		fmt.Fprintf(&b, format+"\n", args...)
		line++
	}
	// What a real listener shares out by the second stands still with the clock.
	put("[host]")
	put("loops = 1")
	if h.State != "" {
		put("state = %s", strconv.Quote(h.State))
	}
	put("[tenant.%s]", name)
	put("cpu = 1024") // more than there is
	put("accept_rate = 1000000")
	put(`bandwidth = "1024GiB/s"`)
	put("log_lines = 100000")
	put(`log_bytes = "1GiB/s"`)
	put("[[listener]]")
	put("name = %q", name)
	put("tenant = %q", name)
	put(`address = "tcp://127.0.0.1:0"`)
	put("plugin = %s", strconv.Quote(h.Plugin))
	if stdio {
		put(`shape = "stdio"`)
	}
	if h.Instance != "" {
		put("instance = %q", h.Instance)
	}
	put(`proxy_from = ["127.0.0.1"]`)
	if h.SampleEvery > 0 {
		put(`event_timeout = "60s"`) // to look takes longer than the event
	}
	if v.short {
		put(`send_buffer = "4KiB"`)
	}
	if v.anew && !stdio && h.perConnection() {
		put("snapshot = false")
	}
	if slices.ContainsFunc(c.Steps, func(s talk.Step) bool { return s.Kind == talk.Secured }) {
		put("[listener.tls]")
		put(`self_signed = ["localhost"]`)
		put("starttls = true")
	}
	lines = make(map[int]int)
	if len(c.Config) > 0 {
		put("[listener.config]")
	}
	for _, s := range ordered(c.Config) {
		lines[line] = s.Line
		if header, ok := strings.CutPrefix(s.TOML, "["); ok && !strings.HasPrefix(header, "[") {
			put("[listener.config.%s", header)
		} else {
			put("%s", s.TOML)
		}
	}
	return b.String(), lines
}

// ordered puts the keys that are in no table before the tables. Of two with the same name the later
// one holds, so that a conversation can change what its file says.
func ordered(config []talk.Setting) []talk.Setting {
	var keys, tables []talk.Setting
	inTable := false
	for _, s := range config {
		if s.Alone {
			inTable = false
		}
		inTable = inTable || strings.HasPrefix(s.TOML, "[")
		if inTable {
			tables = append(tables, s)
			continue
		}
		name := keyOf(s.TOML)
		keys = slices.DeleteFunc(keys, func(other talk.Setting) bool { return keyOf(other.TOML) == name })
		keys = append(keys, s)
	}
	return append(keys, tables...)
}

func keyOf(toml string) string {
	key, _, _ := strings.Cut(toml, "=")
	return strings.TrimSpace(key)
}

// perConnection reports whether each connection has an instance of its own.
func (h *Handler) perConnection() bool { return h.Instance == "" || h.Instance == "connection" }

// blame has an error about the configuration, which nobody has written, be about the line of the
// conversation, or about the handler.
func (h *Handler) blame(err error, lines map[int]int) error {
	all, ok := errors.AsType[config.Errors](err)
	if !ok || len(all) == 0 {
		return err
	}
	what := strings.TrimSuffix(all[0].What+"; "+all[0].Mend, "; ")
	if line, ok := lines[all[0].Line]; ok {
		return failed(line, "%s", what)
	}
	return errors.New(strings.TrimPrefix(what, fmt.Sprintf("listener %q: ", name)))
}
