package smtp

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// memConn is one end of a connection in memory. Unlike net.Pipe it has buffers,
// as a network has, so that each end can write before the other reads. It can
// break after a number of octets.
type memConn struct {
	in, out *memPipe
	read    *memDeadline
	write   *memDeadline
}

// memPipe is one direction.
type memPipe struct {
	mu     sync.Mutex
	change *sync.Cond
	buf    []byte // guarded by mu
	closed bool   // guarded by mu: by the writer
	dead   bool   // guarded by mu: by the reader
	left   int    // guarded by mu: octets until it breaks; negative = never
	writes int    // guarded by mu: calls of Write
	stall  bool   // guarded by mu: the reader's window is closed, writes block
}

func newMemPipe(breakAfter int) *memPipe {
	p := &memPipe{left: breakAfter}
	p.change = sync.NewCond(&p.mu)
	return p
}

// memDeadline wakes the pipe when it passes.
type memDeadline struct {
	pipe  *memPipe
	at    time.Time // guarded by pipe.mu
	timer *time.Timer
}

func (d *memDeadline) set(t time.Time) {
	d.pipe.mu.Lock()
	defer d.pipe.mu.Unlock()
	d.at = t
	if d.timer != nil {
		d.timer.Stop()
	}
	if !t.IsZero() {
		d.timer = time.AfterFunc(time.Until(t), d.pipe.wake)
	}
	d.pipe.change.Broadcast()
}

func (p *memPipe) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.change.Broadcast()
}

// passed is called with pipe.mu held.
func (d *memDeadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// memPair returns both ends; what the client writes breaks after up octets,
// what the server writes after down. Negative means never.
func memPair(up, down int) (client, server *memConn) {
	u, d := newMemPipe(up), newMemPipe(down)
	end := func(in, out *memPipe) *memConn {
		return &memConn{in: in, out: out, read: &memDeadline{pipe: in}, write: &memDeadline{pipe: out}}
	}
	return end(d, u), end(u, d)
}

func (c *memConn) Read(b []byte) (int, error) {
	p := c.in
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.dead:
			return 0, net.ErrClosed
		case c.read.passed():
			return 0, os.ErrDeadlineExceeded
		case len(p.buf) > 0:
			n := copy(b, p.buf)
			p.buf = p.buf[n:]
			return n, nil
		case p.closed || p.left == 0:
			return 0, io.EOF
		}
		p.change.Wait()
	}
}

func (c *memConn) Write(b []byte) (int, error) {
	p := c.out
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.stall && !c.write.passed() && !p.closed && !p.dead {
		p.change.Wait()
	}
	switch {
	case p.closed:
		return 0, net.ErrClosed
	case c.write.passed():
		return 0, os.ErrDeadlineExceeded
	case p.dead || p.left == 0:
		return 0, io.ErrClosedPipe
	}
	p.writes++
	n := len(b)
	if p.left >= 0 {
		n = min(n, p.left)
		p.left -= n
	}
	p.buf = append(p.buf, b[:n]...)
	p.change.Broadcast()
	if n < len(b) {
		return n, io.ErrClosedPipe
	}
	return n, nil
}

func (c *memConn) Close() error {
	c.out.shut(func(p *memPipe) { p.closed = true })
	c.in.shut(func(p *memPipe) { p.dead = true })
	return nil
}

func (p *memPipe) shut(f func(*memPipe)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
	p.change.Broadcast()
}

// unread returns what waits to be read.
func (c *memConn) unread() string {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return string(c.in.buf)
}

func (c *memConn) SetDeadline(t time.Time) error {
	c.read.set(t)
	c.write.set(t)
	return nil
}
func (c *memConn) SetReadDeadline(t time.Time) error  { c.read.set(t); return nil }
func (c *memConn) SetWriteDeadline(t time.Time) error { c.write.set(t); return nil }
func (c *memConn) LocalAddr() net.Addr                { return &net.TCPAddr{} }
func (c *memConn) RemoteAddr() net.Addr               { return &net.TCPAddr{} }
