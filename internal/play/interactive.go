package play

import (
	"context"
	"fmt"
	"io"
	"net"

	"bulkhead/internal/talk"
)

// Interactive serves the handler, connects to it, sends what comes from in, and writes what the
// handler answers to out and its log to log, line by line. It returns when the handler has ended
// the connection, or ctx is done. Time is the system's, and whom the handler dials is refused. r
// gets what was said; nil: nobody does.
func Interactive(ctx context.Context, h Handler, in io.Reader, out, log io.Writer, r *Recording) error {
	s, err := h.serve(ctx, &talk.Case{}, Variant{}, nil)
	if err != nil {
		return err
	}
	defer s.close()
	s.log.follow(log)
	conn, err := net.Dial("tcp", s.address())
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := conn.Write(header(0)); err != nil {
		return err
	}
	sends := r.sends(in) // from here on time is accounted for
	go func() {          // it may wait for a key for ever, and ends with the process then
		_, _ = io.Copy(conn, sends)
		r.ends()
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(out, r.gets(conn)) // how it ends, the host says
	if ctx.Err() != nil {
		return ctx.Err()
	}
	conn.Close()
	if e, ok := s.log.waitForEnd(client(0).String()); ok {
		fmt.Fprintf(log, "the connection has ended: %s %s\n", e.Code, e.Reason)
	}
	return nil
}
