package smtp

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"time"
)

// guard is what go-mail's client takes for the connection. It reads whole
// replies with our own bounded parser and hands them on one at a time, and it
// writes only what may be said:
//   - nothing while something that the server said is unread,
//   - HELO only if EHLO was refused with 5yz (RFC 5321 §3.2),
//   - no QUIT, and "*" only to a challenge: how to part is the session's choice.
//
// So nothing follows a 421 either.
type guard struct {
	net.Conn // never read or written through; the session sets the deadlines
	wire     *wire
	timeout  time.Duration // for each reply
	write    time.Duration // for each command

	greeting string // handed out before anything is read: go-mail expects one after STARTTLS too
	pending  []byte // of the reply, not handed on yet
	verb     string // of the last command
	code     int    // of the last reply
	text     []byte // of the last reply
	err      error  // the connection failed
}

var errWithheld = errors.New("command withheld")

// Read hands on the reply to the last command, and no octet more.
func (g *guard) Read(b []byte) (int, error) {
	if g.greeting != "" {
		g.pending, g.greeting = []byte(g.greeting), ""
	}
	if len(g.pending) == 0 {
		if g.err != nil {
			return 0, g.err
		}
		r, err := g.wire.reply(g.timeout)
		if err != nil {
			g.err = err
			return 0, err
		}
		g.code, g.text = r.code, bytes.Clone(r.text)
		g.pending = r.lines()
	}
	n := copy(b, g.pending)
	g.pending = g.pending[n:]
	return n, nil
}

// lines lays a reply out as a server would have sent it.
func (r *reply) lines() (b []byte) {
	rest, more := r.text, true
	for more {
		var line []byte
		line, rest, more = bytes.Cut(rest, []byte{'\n'})
		sep := byte(' ')
		if more {
			sep = '-'
		}
		b = fmt.Appendf(b, "%d%c%s\r\n", r.code, sep, line)
	}
	return b
}

// Write sends one command.
func (g *guard) Write(b []byte) (int, error) {
	verb, _, _ := bytes.Cut(bytes.TrimRight(b, "\r\n"), []byte{' '})
	switch {
	case g.err != nil:
		return 0, g.err
	case g.wire.in.buffered() > 0:
		g.err = ErrUnsolicited
		return 0, g.err
	case string(verb) == "HELO" && g.code/100 != 5,
		string(verb) == "*" && g.code != 334,
		string(verb) == "QUIT":
		return 0, errWithheld
	}
	g.verb = string(verb)
	n, err := g.wire.send(b, g.write)
	if err != nil {
		g.err = err
	}
	return n, err
}

// Close does nothing: the session owns the connection.
func (g *guard) Close() error { return nil }
