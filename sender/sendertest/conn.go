package sendertest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

// maxLine bounds a command line: 512 octets and what extensions add
// (RFC 5321 §4.5.3.1.4).
const maxLine = 2048

// readBuffer is larger than a usual message, for speed.
const readBuffer = 32 << 10

// conn is one client talking to a Host. All of it is owned by the goroutine
// that runs serve.
type conn struct {
	host   *Host
	id     uint64
	luck   *rand.Rand
	source netip.Addr
	own    *Behavior // from ForConn; nil = the host's

	wire *wire
	net  net.Conn // wire, or TLS on it
	r    *bufio.Reader
	w    *bufio.Writer
	hold bool  // a body is being read: replies wait for its end
	out  error // the first failed write

	number int    // of this connection at the host, from 1
	crowd  int    // connections of the source when this one came, with it
	leave  func() // counts the connection as gone; may be called again, and by the client's Close

	tls     bool
	hello   string // what the client calls itself, "" before EHLO or HELO
	esmtp   bool
	user    string // who authenticated
	refused bool   // the greeting said no
	closing bool   // close once the replies are out
	begun   int    // messages begun on this connection
	tx      transaction
	body    []byte // the message so far; its memory is used again
}

// transaction is what lies between MAIL and the end of the message.
type transaction struct {
	open        bool
	from        string
	options     []string
	utf8        bool
	eightBit    bool // BODY=8BITMIME
	rcpts       []string
	rcptOptions [][]string
	chunked     bool // BDAT has begun
	size        int  // of the message so far
	tooBig      bool // size is over the limit
}

func newConn(h *Host, w *wire, id uint64, luck *rand.Rand) *conn {
	c := &conn{host: h, id: id, luck: luck, wire: w, net: w}
	if addr, ok := w.RemoteAddr().(*net.TCPAddr); ok {
		c.source = addr.AddrPort().Addr().Unmap()
	}
	c.r = bufio.NewReaderSize(flushingReader{c}, readBuffer)
	c.w = bufio.NewWriter(currentWriter{c})
	c.number, c.crowd = h.connect(c.source)
	c.leave = sync.OnceFunc(func() { h.disconnect(c.source) })
	return c
}

// flushingReader sends the pending replies before it waits for the client:
// commands that came together are answered together.
type flushingReader struct{ c *conn }

func (f flushingReader) Read(b []byte) (int, error) {
	c := f.c
	if !c.hold {
		if err := c.flush(); err != nil {
			return 0, err
		}
	}
	_ = c.net.SetReadDeadline(time.Now().Add(c.behavior().idleTimeout()))
	return c.net.Read(b)
}

// currentWriter writes to what is c.net at the time.
type currentWriter struct{ c *conn }

func (w currentWriter) Write(b []byte) (int, error) { return w.c.net.Write(b) }

// behavior is how to behave now.
func (c *conn) behavior() *Behavior {
	if c.own != nil {
		return c.own
	}
	return c.host.behavior.Load()
}

// serve talks to the client until one of both has enough.
func (c *conn) serve() {
	defer c.leave()
	if b := c.behavior(); b.ForConn != nil {
		c.own = b.ForConn(c.number)
	}
	c.wire.cutRead, c.wire.cutWrite = c.behavior().CutRead, c.behavior().CutWrite

	c.greet()
	for !c.closing {
		line, err := c.readLine()
		if err != nil {
			c.giveUp(err)
			break
		}
		c.command(line)
	}
	c.leave() // before the client knows: it may open the next at once
	if c.flush() == nil {
		if tc, ok := c.net.(*tls.Conn); ok {
			_ = tc.CloseWrite()
		}
		c.wire.finish()
	}
}

// readLine reads a command without its line end.
func (c *conn) readLine() (string, error) {
	raw, err := c.r.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	if len(raw) > maxLine {
		return "", bufio.ErrBufferFull
	}
	line, ok := bytes.CutSuffix(raw, []byte("\r\n"))
	if !ok {
		c.violation("a command ends in a bare LF")
		line = bytes.TrimSuffix(raw, []byte("\n"))
	}
	c.trace("C: ", string(line))
	return string(line), nil
}

// giveUp ends a conversation that can't go on.
func (c *conn) giveUp(err error) {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.write(Answer("421 4.4.2 Idle for too long"))
	case errors.Is(err, bufio.ErrBufferFull):
		c.violation("a line is too long")
		c.write(Answer("500 5.5.6 Line too long"))
	}
	c.closing = true
}

// greet opens the conversation (RFC 5321 §3.1).
func (c *conn) greet() {
	b := c.behavior()
	r := &Reply{Code: 220, Text: c.host.name + " ESMTP sandbox"}
	slow := false
	switch {
	case b.MaxConns > 0 && c.crowd > b.MaxConns:
		r, slow = &Reply{Code: 421, Status: "4.7.0", Text: c.host.name + " Too many connections from your address"}, true
	case b.Greeting != nil:
		r = b.Greeting
	}
	a := c.decide(StageGreeting, "", r)
	c.refused = !a.positive()
	c.count(a, slow)
	c.send(a)
}

// answer is what will be sent in reply to a command.
type answer struct {
	reply *Reply
	drop  *Drop         // do this instead
	raw   *bufio.Reader // from Script; send this instead
	code  int           // what the client is told, as far as is known
}

func (a answer) positive() bool { return a.drop == nil && a.code < 400 }

// decide finds out what will be sent at a stage: r, unless the Behavior drops
// the connection or has a script.
func (c *conn) decide(s Stage, line string, r *Reply) answer {
	b := c.behavior()
	a := answer{reply: r, code: r.Code, drop: b.drop(s, c.luck)}
	if b.Script == nil || a.drop != nil {
		return a
	}
	if script := b.Script(s, line); script != nil {
		a.raw = bufio.NewReader(script)
		a.code = rawCode(a.raw, r.Code)
	}
	return a
}

// rawCode reads the code of a scripted reply: 421 as it is, else its first
// digit in hundreds. Of what is no reply, it takes the code meant otherwise.
func rawCode(raw *bufio.Reader, otherwise int) int {
	head, _ := raw.Peek(3)
	switch {
	case string(head) == "421":
		return 421
	case len(head) > 0 && head[0] >= '2' && head[0] <= '5':
		return int(head[0]-'0') * 100
	}
	return otherwise
}

// send puts an answer in the buffer, or drops the connection.
func (c *conn) send(a answer) {
	if a.drop != nil {
		c.drop(a.drop)
		return
	}
	if tarpit := c.behavior().Tarpit; tarpit > 0 {
		if c.flush() != nil {
			return
		}
		if !c.host.sandbox.sleep(tarpit) {
			c.abort()
			return
		}
	}
	if a.raw == nil {
		c.write(a.reply)
	} else if _, err := io.Copy(c.w, a.raw); err != nil {
		c.abort()
	}
	if a.code == 421 {
		c.closing = true // RFC 5321 §3.8
	}
}

// say decides, counts and sends; true if the client was told yes.
func (c *conn) say(s Stage, line string, r *Reply) bool {
	a := c.decide(s, line, r)
	c.count(a, false)
	c.send(a)
	return a.positive()
}

func (c *conn) count(a answer, slow bool) {
	if a.drop == nil && a.code >= 400 {
		c.host.countRefusal(a.code, slow)
	}
}

// write puts a reply in the buffer.
func (c *conn) write(r *Reply) {
	// RFC 2034 §4 leaves them out of greetings, large providers do not.
	statusCodes := (c.esmtp || c.hello == "") && c.behavior().offers(EnhancedStatusCodes)
	wire := r.appendWire(c.w.AvailableBuffer(), statusCodes)
	if c.host.sandbox.options.Trace != nil {
		for line := range strings.Lines(string(wire)) {
			c.trace("S: ", strings.TrimSuffix(line, "\r\n"))
		}
	}
	_, _ = c.w.Write(wire) // the error comes again at the flush
}

// flush sends what is in the buffer, after the network's latency.
func (c *conn) flush() error {
	if c.out != nil || c.w.Buffered() == 0 {
		return c.out
	}
	b := c.behavior()
	if !c.host.sandbox.sleep(b.Latency) {
		c.out = net.ErrClosed
		return c.out
	}
	_ = c.net.SetWriteDeadline(time.Now().Add(b.idleTimeout()))
	c.out = c.w.Flush()
	return c.out
}

// drop ends the conversation without an answer.
func (c *conn) drop(d *Drop) {
	if d.Silent && c.flush() == nil {
		_ = c.net.SetReadDeadline(time.Time{})
		_, _ = io.Copy(io.Discard, c.net)
	}
	c.abort()
}

// abort closes at once and drops the replies not yet sent.
func (c *conn) abort() {
	c.closing = true
	c.out = errCut
	c.leave()
	c.wire.Close()
}

// startTLS goes on under TLS (RFC 3207 §4).
func (c *conn) startTLS() {
	if c.flush() != nil {
		return
	}
	if c.behavior().BreakTLS {
		_, _ = c.net.Write([]byte("\x15\x03\x01 this is no TLS record\r\n"))
		c.closing = true
		return
	}
	cfg, err := c.host.sandbox.certs.config(c.host)
	if err != nil {
		c.abort()
		return
	}
	_ = c.net.SetDeadline(time.Now().Add(c.behavior().idleTimeout()))
	tc := tls.Server(c.net, cfg)
	if tc.Handshake() != nil {
		c.abort()
		return
	}
	c.net, c.tls = tc, true
	c.r.Reset(flushingReader{c}) // RFC 3207 §6: what came in clear before is forgotten
	c.hello, c.esmtp, c.user = "", false, ""
	c.tx = transaction{}
}

func (c *conn) violation(what string) { c.host.violation(c.id, what) }

func (c *conn) trace(side, line string) {
	if f := c.host.sandbox.options.Trace; f != nil {
		f(c.host.name, c.id, side+line)
	}
}
