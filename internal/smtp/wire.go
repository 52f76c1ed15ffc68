package smtp

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// blockSize is how much is written under one deadline.
const blockSize = 64 << 10

// wire is the connection with its deadlines. Its deadlines can be cut short
// from any goroutine; all else belongs to the session's goroutine.
type wire struct {
	in   reader
	conn net.Conn // what is read and written: raw, or TLS over it
	raw  net.Conn // never changes: its deadlines are those of conn too
	tcp  tcp      // what only a TCP socket can

	wait     time.Duration // for the reply that is being read
	waiting  bool          // the deadline for that reply is set
	answered bool          // something was read since the last write

	mu     sync.Mutex
	read   time.Time // guarded by mu: read deadline as set
	write  time.Time // guarded by mu: write deadline as set
	cutAt  time.Time // guarded by mu: no deadline is later; zero = not cut
	ctxAt  time.Time // guarded by mu: as cutAt, by the watched ctx
	ctxErr error     // guarded by mu: its cause
	dot    bool      // guarded by mu: the reply to the end of a message is awaited
}

func newWire(conn net.Conn) *wire {
	w := &wire{conn: conn, raw: conn, tcp: newTCP(conn)}
	w.in.fillFrom = w
	return w
}

// earlier returns the earlier of two times, of which zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// limited returns t or the time of a cut, if that is earlier. Called with mu held.
func (w *wire) limited(t time.Time) time.Time {
	return earlier(t, earlier(w.cutAt, w.ctxAt))
}

func (w *wire) setRead(t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.read = w.limited(t)
	_ = w.raw.SetReadDeadline(w.read) // fails only on a closed connection, which the read finds
}

func (w *wire) setWrite(t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.write = w.limited(t)
	_ = w.raw.SetWriteDeadline(w.write)
}

// shorten applies a new limit to the deadlines that are set. Called with mu held.
func (w *wire) shorten() {
	w.read, w.write = w.limited(w.read), w.limited(w.write)
	_ = w.raw.SetReadDeadline(w.read)
	_ = w.raw.SetWriteDeadline(w.write)
}

// cut lets everything fail from now on, or, while the reply to the end of a
// message is awaited, from the reply on but not later than after grace.
func (w *wire) cut(grace time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := time.Now()
	if w.dot {
		at = at.Add(grace)
	}
	w.cutAt = earlier(w.cutAt, at)
	w.shorten()
}

// setDot notes whether the reply to the end of a message is awaited.
func (w *wire) setDot(awaited bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dot = awaited
	if !awaited && !w.cutAt.IsZero() { // the grace is over
		w.cutAt = earlier(w.cutAt, time.Now())
		w.shorten()
	}
}

// cause returns why the connection was cut from this side, nil if it was not.
func (w *wire) cause() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.ctxErr != nil:
		return w.ctxErr
	case !w.cutAt.IsZero():
		return ErrCut
	}
	return nil
}

// watch lets everything fail as soon as ctx ends, until the returned function
// is called; after that the connection is as if there had been no ctx.
func (w *wire) watch(ctx context.Context) (unwatch func()) {
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.ctxAt, w.ctxErr = time.Now(), context.Cause(ctx)
		w.shorten()
	})
	return func() {
		if stop() {
			return
		}
		<-ended
		w.mu.Lock()
		defer w.mu.Unlock()
		w.ctxAt, w.ctxErr = time.Time{}, nil
	}
}

// send writes b in blocks that each have their own deadline, and returns how
// many octets were written.
func (w *wire) send(b []byte, block time.Duration) (n int, err error) {
	w.answered = false
	for err == nil && n < len(b) {
		w.setWrite(time.Now().Add(block))
		var m int
		m, err = w.conn.Write(b[n:min(len(b), n+blockSize)])
		n += m
	}
	return n, err
}

// Read reads for the reader.
func (w *wire) Read(b []byte) (int, error) {
	if !w.waiting { // once for each reply, so that a drip of octets can't extend it
		w.setRead(time.Now().Add(w.wait))
		w.waiting = true
	}
	if w.answered {
		// The server answers a group in pieces: under Nagle's algorithm it holds
		// the next one back until this one is acknowledged.
		w.tcp.quickAck()
	}
	n, err := w.conn.Read(b)
	w.answered = w.answered || n > 0
	return n, err
}

// reply reads one reply. All of it must arrive within timeout.
func (w *wire) reply(timeout time.Duration) (*reply, error) {
	w.wait, w.waiting = timeout, false
	return w.in.reply()
}

// quiet reports that the server has neither said anything nor closed. Where
// only a read can tell, it takes a millisecond; what comes is kept.
func (w *wire) quiet() bool {
	if w.in.buffered() > 0 || w.cause() != nil {
		return false
	}
	if w.tcp.silent() {
		return true
	}
	w.wait, w.waiting = time.Millisecond, false
	return errors.Is(w.in.fill(), os.ErrDeadlineExceeded) && w.cause() == nil
}

// close closes at once, without the goodbye of TLS, which could block.
func (w *wire) close() error { return w.raw.Close() }
