package guard

import (
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// What one who comes in may take.
const (
	MostBody    = 64 << 10         // bytes of a request's body
	mostHeader  = 8 << 10          // and of its header
	requestTime = 10 * time.Second // to send it
	answerTime  = 10 * time.Second // to take the answer
	idleTime    = 30 * time.Second // between two requests
)

// NewServer makes a server that bounds the size of a request, and the time that it takes. A handler
// whose answer takes longer than 10 s, such as a stream of events, sets the write deadline by
// http.ResponseController before each part. It speaks HTTP/1 alone. What is wrong with clients is
// logged as debug.
func NewServer(handler http.Handler, log *slog.Logger) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler: handler, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug), Protocols: protocols,
		MaxHeaderBytes: mostHeader, ReadTimeout: requestTime, ReadHeaderTimeout: requestTime, WriteTimeout: answerTime, IdleTimeout: idleTime,
		DisableGeneralOptionsHandler: true, // the rules refuse OPTIONS
	}
}

// Bounded gives a listener that has at most so many connections open. Others wait in the kernel's
// queue.
func Bounded(l net.Listener, most int) net.Listener {
	return &bounded{Listener: l, places: make(chan struct{}, most), closed: make(chan struct{})}
}

type bounded struct {
	net.Listener
	places chan struct{}
	over   sync.Once
	closed chan struct{}
}

// Accept waits for a place, and then for a connection.
func (l *bounded) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &Placed{Conn: c, leave: func() { <-l.places }}, nil
}

// Close ends the waiting, and closes the socket. It may be called more than once: the socket's file
// is removed by the first call alone, as another one may be there by then.
func (l *bounded) Close() error {
	err := net.ErrClosed
	l.over.Do(func() {
		close(l.closed)
		err = l.Listener.Close()
	})
	return err
}

// Placed is a connection of Bounded's. It gives its place back when it is closed.
type Placed struct {
	net.Conn
	once  sync.Once
	leave func()
}

// Close closes the connection.
func (c *Placed) Close() error {
	c.once.Do(c.leave)
	return c.Conn.Close()
}
