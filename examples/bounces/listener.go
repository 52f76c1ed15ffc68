package main

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// connLife bounds a connection, however slowly its client speaks.
const connLife = 10 * time.Minute

// listener bounds the number and the life of connections, and knows those that
// are open.
type listener struct {
	net.Listener
	slots  chan struct{} // one taken by each open connection
	closed chan struct{} // closed by Close
	once   sync.Once

	mu    sync.Mutex
	conns map[*conn]bool // guarded by mu
}

func newListener(l net.Listener, maxConns int) *listener {
	return &listener{Listener: l, slots: make(chan struct{}, maxConns), closed: make(chan struct{}), conns: map[*conn]bool{}}
}

// Accept waits until there is room.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	nc, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	c := &conn{Conn: nc, listener: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	c.life = time.AfterFunc(connLife, func() { _ = c.Close() })
	l.conns[c] = true
	return c, nil
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// closeIdle closes connections that have no mail under way.
func (l *listener) closeIdle() { l.closeIf(func(c *conn) bool { return !c.busy.Load() }) }

func (l *listener) closeAll() { l.closeIf(func(*conn) bool { return true }) }

func (l *listener) closeIf(want func(*conn) bool) {
	l.mu.Lock()
	var chosen []*conn
	for c := range l.conns {
		if want(c) {
			chosen = append(chosen, c)
		}
	}
	l.mu.Unlock()
	for _, c := range chosen {
		_ = c.Close()
	}
}

// conn is a connection of a listener.
type conn struct {
	net.Conn
	listener *listener
	life     *time.Timer
	busy     atomic.Bool // from MAIL to the reply for the mail
	once     sync.Once
}

func (c *conn) Close() error {
	c.once.Do(func() {
		c.listener.mu.Lock()
		c.life.Stop()
		delete(c.listener.conns, c)
		c.listener.mu.Unlock()
		<-c.listener.slots
	})
	return c.Conn.Close()
}
