package main

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"

	"bulkhead/sdk/go"
)

// The bounds. Together they bound the memory of the guest: a member costs its
// unsent lines and little else, and a room exists while somebody is in it.
const (
	maxLine    = 512          // bytes of a line, without its end
	maxName    = 20           // bytes of a name, of a member or a room
	maxMembers = 1000         // connections, named or not
	maxUnsent  = 16 << 10     // bytes that wait for a member; with more it is too slow
	maxListed  = 50           // names in one answer to /who
	nameWithin = guest.Minute // how long a client may take to say its name
	lobby      = "lobby"      // the room to begin with
	nameTimer  = int32(1)     // the token of nameWithin
	help       = "/join ROOM, /who, /quit"
)

// hall is the handler: everyone who is connected.
type hall struct {
	guest.Base
	everyone map[*member]struct{}
	names    map[string]*member // by name, in lower case
	rooms    map[string]*room   // by name, in lower case; none is empty

	line []byte // built here, so that a line costs no memory
}

type room struct {
	name    string
	members []*member // in the order they came
}

type member struct {
	conn     *guest.Conn
	name     string // "" until it has said it
	room     *room  // nil before that, and after it has left
	begun    []byte // a line whose end has not come, which the host has, too
	skipping bool   // the rest of a line that is too long
	gone     bool   // it has left, and only Closed comes
}

func newHall() *hall {
	return &hall{
		everyone: make(map[*member]struct{}),
		names:    make(map[string]*member),
		rooms:    make(map[string]*room),
	}
}

// Open asks for a name.
func (h *hall) Open(c *guest.Conn) error {
	m := &member{conn: c}
	c.Value = m
	c.SetWriteLimit(maxUnsent)
	h.everyone[m] = struct{}{}
	if len(h.everyone) > maxMembers {
		h.tell(m, "the chat is full; try again later")
		h.leave(m, "")
		return nil
	}
	h.tell(m, "what is your name?")
	return c.SetTimer(nameTimer, nameWithin)
}

// Data takes whole lines. The beginning of one stays with the host until its
// end has come.
func (h *hall) Data(c *guest.Conn, p []byte) (used int, err error) {
	m := c.Value.(*member)
	m.begun = m.begun[:0]
	// A member that does not read its answers is not served: the rest of p
	// comes again when it has.
	for used < len(p) && !m.gone && c.Queued() == 0 {
		end := bytes.IndexByte(p[used:], '\n')
		if end < 0 {
			if !m.skipping && len(p)-used > maxLine+len("\r") {
				m.skipping = true
				h.refuseLine(m)
			}
			if m.skipping {
				used = len(p)
			}
			m.begun = append(m.begun, p[used:]...)
			return used, nil
		}
		line := p[used : used+end]
		used += end + 1
		if m.skipping {
			m.skipping = false // this was the end of it
			continue
		}
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) > maxLine {
			h.refuseLine(m)
			continue
		}
		h.hear(m, clean(line))
	}
	return used, nil
}

// EOF is a way to leave, and to end the last line: many a program leaves out its LF.
func (h *hall) EOF(c *guest.Conn) {
	m := c.Value.(*member)
	if line := bytes.TrimSuffix(m.begun, []byte("\r")); len(line) > maxLine {
		h.refuseLine(m)
	} else if len(line) > 0 && !m.gone {
		h.hear(m, clean(line))
	}
	h.leave(m, "left")
}

// Closed comes for everyone in the end, and first for who has hung up.
func (h *hall) Closed(c *guest.Conn, reason error) {
	m := c.Value.(*member)
	h.leave(m, "left")
	delete(h.everyone, m)
}

// Timer is the time to say one's name.
func (h *hall) Timer(c *guest.Conn, token int32) {
	if m := c.Value.(*member); m.name == "" {
		h.tell(m, "you have no name, so good-bye")
		h.leave(m, "")
	}
}

// Stop says good-bye to everyone.
func (h *hall) Stop() {
	for m := range h.everyone {
		h.tell(m, "the server stops; good-bye")
		m.gone = true
		_ = m.conn.Close()
	}
	_ = guest.Count("chat_members", -int64(len(h.names)))
	clear(h.names)
	clear(h.rooms)
}

// hear acts on one line.
func (h *hall) hear(m *member, text string) {
	switch {
	case m.name == "":
		h.enter(m, text)
	case text == "":
	case text[0] != '/':
		h.say(m, text)
	default:
		command, argument, _ := strings.Cut(text, " ")
		argument = strings.TrimSpace(argument)
		switch command {
		case "/join":
			h.join(m, argument)
		case "/who":
			h.who(m)
		case "/quit":
			h.tell(m, "good-bye")
			h.leave(m, "left")
		default:
			h.tell(m, "there is no ", command, "; there is ", help)
		}
	}
}

// enter takes a name and puts the member into the lobby.
func (h *hall) enter(m *member, name string) {
	name = strings.TrimSpace(name)
	if !validName(name) {
		h.tell(m, "a name is 1 to ", strconv.Itoa(maxName), " letters, digits, - and _; what is yours?")
		return
	}
	key := strings.ToLower(name)
	if h.names[key] != nil {
		h.tell(m, name, " is taken; what else may we call you?")
		return
	}
	m.name = name
	h.names[key] = m
	_ = m.conn.StopTimer(nameTimer)
	_ = guest.Count("chat_members", 1)
	h.tell(m, "hello, ", name, ". There is ", help)
	h.move(m, lobby)
}

// join changes the room.
func (h *hall) join(m *member, name string) {
	switch {
	case !validName(name):
		h.tell(m, "a room is 1 to ", strconv.Itoa(maxName), " letters, digits, - and _")
	case strings.EqualFold(m.room.name, name):
		h.tell(m, "you are in ", m.room.name, " already")
	default:
		h.depart(m, "went to "+name)
		if !m.gone {
			h.move(m, name)
		}
	}
}

// move puts a member that is in no room into one, and announces it.
func (h *hall) move(m *member, name string) {
	key := strings.ToLower(name)
	r := h.rooms[key]
	if r == nil {
		r = &room{name: name}
		h.rooms[key] = r
	}
	h.announce(r, nil, m.name, "joined")
	// The last member may have been dropped just now, and the room with it.
	h.rooms[key] = r
	r.members = append(r.members, m)
	m.room = r
	others := len(r.members) - 1
	h.tell(m, "you are in ", r.name, ", with ", strconv.Itoa(others), plural(others, " other", " others"))
}

// who lists the room.
func (h *hall) who(m *member) {
	names := make([]string, len(m.room.members))
	for i, other := range m.room.members {
		names[i] = other.name
	}
	slices.Sort(names)
	more := ""
	if n := len(names) - maxListed; n > 0 {
		names, more = names[:maxListed], ", and "+strconv.Itoa(n)+" more"
	}
	h.tell(m, "in ", m.room.name, ": ", strings.Join(names, ", "), more)
}

// leave has a member go, for good, once. how is announced, such as "left".
func (h *hall) leave(m *member, how string) {
	if m.gone {
		return
	}
	m.gone = true
	_ = m.conn.Close()
	if m.name == "" {
		return
	}
	delete(h.names, strings.ToLower(m.name))
	_ = guest.Count("chat_members", -1)
	h.depart(m, how)
}

// depart takes a member out of its room and tells the others.
func (h *hall) depart(m *member, how string) {
	r := m.room
	if r == nil {
		return
	}
	m.room = nil
	r.members = slices.DeleteFunc(r.members, func(o *member) bool { return o == m })
	h.announce(r, m, m.name, how)
	if len(r.members) == 0 {
		delete(h.rooms, strings.ToLower(r.name))
	}
}

// say is what a member says.
func (h *hall) say(m *member, text string) {
	h.line = append(append(append(append(h.line[:0], m.name...), ": "...), text...), '\n')
	h.broadcast(m.room, m)
}

// announce is what happens in a room.
func (h *hall) announce(r *room, except *member, name, what string) {
	h.line = append(append(append(append(append(h.line[:0], "* "...), name...), ' '), what...), '\n')
	h.broadcast(r, except)
}

// broadcast sends h.line to a room. Who cannot take it is dropped, and that is
// announced in turn.
func (h *hall) broadcast(r *room, except *member) {
	var slow []*member
	for _, m := range r.members {
		if m == except {
			continue
		}
		switch _, err := m.conn.Write(h.line); {
		case err == nil:
		case errors.Is(err, guest.Closed): // it has gone already, and its Closed is on the way
		default:
			slow = append(slow, m)
		}
	}
	for _, m := range slow {
		h.drop(m)
	}
}

// drop has a member go that does not take what is said.
func (h *hall) drop(m *member) {
	if m.gone {
		return // a drop before this one has found it as well
	}
	_ = guest.Count("chat_dropped", 1)
	_ = m.conn.Abort()
	h.leave(m, "was too slow, and is gone")
}

// tell answers one member. One that cannot take it has a queue as long as it may
// be, and is dropped with the next line for its room; the answer is lost.
func (h *hall) tell(m *member, text ...string) {
	h.line = append(h.line[:0], "* "...)
	for _, s := range text {
		h.line = append(h.line, s...)
	}
	h.line = append(h.line, '\n')
	_, _ = m.conn.Write(h.line)
}

func (h *hall) refuseLine(m *member) {
	h.tell(m, "that line is longer than ", strconv.Itoa(maxLine), " bytes, so nobody has seen it; please make it shorter")
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
