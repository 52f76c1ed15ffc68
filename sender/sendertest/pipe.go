package sendertest

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// pipeBuffer is how many bytes one direction of a pipe holds before a writer
// waits, as a socket's send buffer does.
const pipeBuffer = 64 << 10

// pipe makes both ends of an in-memory connection between two addresses. It
// differs from net.Pipe in that a write returns once the bytes are buffered.
// It waits on sync.Cond only, which a testing/synctest bubble can tell from work.
func pipe(client, server net.Addr) (net.Conn, net.Conn) {
	up, down := newFlow(), newFlow()
	return &pipeConn{in: down, out: up, local: client, remote: server},
		&pipeConn{in: up, out: down, local: server, remote: client}
}

// pipeConn is one end of a pipe.
type pipeConn struct {
	in, out       *flow
	local, remote net.Addr
}

func (p *pipeConn) LocalAddr() net.Addr  { return p.local }
func (p *pipeConn) RemoteAddr() net.Addr { return p.remote }

func (p *pipeConn) Read(b []byte) (int, error) {
	n, err := p.in.read(b)
	return n, p.wrap("read", err)
}

func (p *pipeConn) Write(b []byte) (int, error) {
	n, err := p.out.write(b)
	return n, p.wrap("write", err)
}

func (p *pipeConn) wrap(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: p.local, Addr: p.remote, Err: err}
}

// Close lets the peer read what was written, and nothing more.
func (p *pipeConn) Close() error {
	p.in.closeReader()
	p.out.closeWriter()
	return nil
}

func (p *pipeConn) SetDeadline(t time.Time) error {
	p.in.setDeadline(&p.in.reader, t)
	p.out.setDeadline(&p.out.writer, t)
	return nil
}

func (p *pipeConn) SetReadDeadline(t time.Time) error {
	p.in.setDeadline(&p.in.reader, t)
	return nil
}

func (p *pipeConn) SetWriteDeadline(t time.Time) error {
	p.out.setDeadline(&p.out.writer, t)
	return nil
}

// flow is one direction of a pipe.
type flow struct {
	mu     sync.Mutex
	wake   *sync.Cond // something below changed
	buf    []byte     // guarded by mu; buf[off:] is not yet read
	off    int        // guarded by mu
	reader side       // guarded by mu
	writer side       // guarded by mu
	lost   bool       // guarded by mu; as with TCP, the first write after the reader closed goes nowhere
}

// side is what one end of a flow has set.
type side struct {
	closed   bool
	deadline time.Time   // zero = none
	timer    *time.Timer // wakes the waiters at the deadline
}

func newFlow() *flow {
	f := new(flow)
	f.wake = sync.NewCond(&f.mu)
	return f
}

func (f *flow) read(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		switch {
		case f.reader.closed:
			return 0, net.ErrClosed
		case f.reader.expired():
			return 0, os.ErrDeadlineExceeded
		case len(b) == 0:
			return 0, nil
		case f.off < len(f.buf):
			n := copy(b, f.buf[f.off:])
			if f.off += n; f.off == len(f.buf) {
				f.buf, f.off = f.buf[:0], 0
			}
			f.wake.Broadcast()
			return n, nil
		case f.writer.closed:
			return 0, io.EOF
		}
		f.wake.Wait()
	}
}

func (f *flow) write(b []byte) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		switch {
		case f.writer.closed:
			return n, net.ErrClosed
		case f.writer.expired():
			return n, os.ErrDeadlineExceeded
		case f.reader.closed && !f.lost:
			f.lost = true
			return n + len(b), nil
		case f.reader.closed:
			return n, syscall.EPIPE
		case len(b) == 0:
			return n, nil
		}
		if room := pipeBuffer - (len(f.buf) - f.off); room > 0 {
			f.compact()
			k := min(room, len(b))
			f.buf = append(f.buf, b[:k]...)
			b, n = b[k:], n+k
			f.wake.Broadcast()
			continue
		}
		f.wake.Wait()
	}
}

// compact drops what was read, so that buf never grows past pipeBuffer.
func (f *flow) compact() {
	if f.off > 0 {
		f.buf = f.buf[:copy(f.buf, f.buf[f.off:])]
		f.off = 0
	}
}

func (f *flow) closeReader() { f.close(&f.reader) }
func (f *flow) closeWriter() { f.close(&f.writer) }

func (f *flow) close(s *side) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	f.wake.Broadcast()
}

func (f *flow) setDeadline(s *side, t time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.closed {
		return
	}
	if s.timer != nil {
		s.timer.Stop()
	}
	s.deadline = t
	if t.IsZero() {
		return
	}
	// On the clock of the timer, so that a waiter woken by it finds the deadline passed.
	now := time.Now()
	d := t.Sub(now)
	s.deadline = now.Add(d)
	switch {
	case d <= 0:
		f.wake.Broadcast()
	case s.timer == nil:
		s.timer = time.AfterFunc(d, f.broadcast)
	default:
		s.timer.Reset(d)
	}
}

func (f *flow) broadcast() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wake.Broadcast()
}

func (s *side) expired() bool {
	return !s.deadline.IsZero() && !time.Now().Before(s.deadline)
}
