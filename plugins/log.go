package plugins

import (
	"bytes"
	"fmt"
	"time"

	"bulkhead/abi"
)

// Line is one line about a guest.
type Line struct {
	Level    int32  // abi.LogDebug to abi.LogError
	Listener string // whose guest it is
	// Guest reports that the text is the guest's: up to abi.MaxLogLine bytes of any kind,
	// with a "…" behind them when more were cut off. Whoever prints it has to quote it. Else
	// it is the host's own, which may name things of the guest's.
	Guest bool
	Text  string
	// Connection is the number of the connection that it is about, and Peer its other end:
	// the one whose event runs, or the client of an instance that has only one. 0 and "":
	// none.
	Connection uint64
	Peer       string
}

// Logger takes lines. It is called from any goroutine and must not block, nor
// call an instance.
type Logger interface {
	Log(Line)
	// LeftOut says that a line was left out, since its instance logs too many. A later line of the
	// instance says how many there were.
	LeftOut()
}

// defaultLogLines is how many lines a second an instance may log.
const defaultLogLines = 100

// lineLimit counts lines, second by second.
type lineLimit struct {
	second  int64
	lines   int
	dropped int
}

// guestLine logs text of the guest's, if it may log another line.
func (i *Instance) guestLine(level int32, text []byte) {
	if !i.mayLog() {
		return
	}
	cut := ""
	if len(text) > abi.MaxLogLine {
		text, cut = text[:abi.MaxLogLine], "…"
	}
	line := string(text) + cut
	if i.state == starting && level == abi.LogError && i.exec != nil {
		i.exec.said = printable(line)
	}
	i.writeLog(level, true, line)
}

// notice logs something about the guest that it can cause at will.
func (i *Instance) notice(level int32, text string) {
	if i.mayLog() {
		i.writeLog(level, false, text)
	}
}

func (i *Instance) writeLog(level int32, guest bool, text string) {
	l := Line{Level: level, Listener: i.listener.Name, Guest: guest, Text: text}
	about := i.about
	if i.process != nil {
		about = i.process.csa
	}
	if about != nil {
		l.Connection, l.Peer = about.Number(), about.Peer()
	}
	i.module.runtime.options.Log.Log(l)
}

func (i *Instance) mayLog() bool {
	limit := i.listener.LogLines
	if limit == 0 {
		limit = defaultLogLines
	}
	if limit < 0 {
		return false
	}
	if second := i.monotonic() / int64(time.Second); second != i.limit.second {
		i.reportDropped()
		i.limit.second, i.limit.lines = second, 0
	}
	if i.limit.lines >= limit {
		i.limit.dropped++
		i.module.runtime.options.Log.LeftOut()
		return false
	}
	i.limit.lines++
	return true
}

func (i *Instance) reportDropped() {
	if n := i.limit.dropped; n > 0 {
		i.limit.dropped = 0
		i.writeLog(abi.LogWarn, false, fmt.Sprintf("%d log lines of its handler came too fast and were dropped", n))
	}
}

// stream cuts what a guest prints into lines.
type stream struct {
	// line is the begin of a line whose end has not come: at most one byte above abi.MaxLogLine, to
	// know that it was cut. Nil between lines, so that an instance that prints keeps nothing.
	line []byte
}

// print takes p for a stream and logs the lines that are complete.
func (i *Instance) print(s *stream, level int32, p []byte) {
	for len(p) > 0 {
		part, rest, ended := bytes.Cut(p, []byte{'\n'})
		part = part[:min(len(part), abi.MaxLogLine+1-len(s.line))]
		switch {
		case ended && len(s.line) == 0:
			if len(part) > 0 {
				i.guestLine(level, part) // as it stands in the guest's memory
			}
		case len(part) > 0:
			s.line = append(s.line, part...)
		}
		if ended {
			i.flush(s, level)
		}
		p = rest
	}
}

// flush logs what stands in a stream, complete or not.
func (i *Instance) flush(s *stream, level int32) {
	if len(s.line) > 0 {
		i.guestLine(level, s.line)
		s.line = nil
	}
}
