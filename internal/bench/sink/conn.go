package sink

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
)

// inputSize is the input buffer of a connection: two messages of the benchmark.
const inputSize = 64 << 10

// errQuit ends a connection in peace.
var errQuit = errors.New("quit")

// conn is one connection. All of it is owned by the goroutine of serve.
type conn struct {
	sink *Sink
	rw   io.ReadWriter
	in   []byte // the input buffer: in[r:w] is unread
	r, w int
	out  []byte // replies that are not written yet

	mail    bool     // in a transaction
	nrcpt   int64    // recipients of the transaction
	rcpts   []string // the same by name, if keep
	size    int64    // bytes of the message so far
	keep    bool     // content is wanted
	content []byte
}

// serve talks to one client until it quits or breaks off.
func (s *Sink) serve(nc net.Conn) {
	c := &conn{sink: s, rw: nc, in: make([]byte, inputSize)}
	if s.opts.RTT > 0 {
		d := newDelay(nc, s.opts.RTT)
		defer d.Close()
		c.rw = d
	}
	c.reply("220 sink ESMTP")
	for {
		line, err := c.line()
		if err == nil {
			err = c.command(line)
		}
		if err != nil {
			_ = c.flush() // the client may be gone
			return
		}
	}
}

// reply adds a line to the replies that the next flush writes.
func (c *conn) reply(s string) { c.out = append(append(c.out, s...), "\r\n"...) }

// refuse replies to a command that should not have come.
func (c *conn) refuse(s string) {
	c.sink.count.bad.Add(1)
	c.reply(s)
}

func (c *conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	_, err := c.rw.Write(c.out)
	c.out = c.out[:0]
	return err
}

// fill waits for more input. All replies are written before, together.
func (c *conn) fill() error {
	if err := c.flush(); err != nil {
		return err
	}
	if c.r > 0 {
		c.w = copy(c.in, c.in[c.r:c.w])
		c.r = 0
	}
	if c.w == len(c.in) {
		return io.ErrShortBuffer
	}
	n, err := c.rw.Read(c.in[c.w:])
	c.w += n
	if n > 0 {
		return nil
	}
	return err
}

// line reads a command without its line end. It is valid until the next fill.
func (c *conn) line() ([]byte, error) {
	searched := 0
	for {
		unread := c.in[c.r:c.w]
		if i := bytes.IndexByte(unread[searched:], '\n'); i >= 0 {
			end := searched + i
			c.r += end + 1
			return bytes.TrimSuffix(unread[:end], []byte("\r")), nil
		}
		searched = len(unread)
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}

// command carries out one command. An error ends the connection.
func (c *conn) command(line []byte) error {
	verb, args, _ := bytes.Cut(line, []byte(" "))
	switch strings.ToUpper(string(verb)) {
	case "EHLO":
		c.reset()
		c.out = append(c.out, c.sink.greeting...)
	case "HELO":
		c.reset()
		c.reply("250 sink")
	case "MAIL":
		c.startMail()
	case "RCPT":
		c.addRcpt(args)
	case "DATA":
		return c.data()
	case "BDAT":
		return c.bdat(string(args))
	case "RSET":
		c.reset()
		c.reply("250 2.0.0 ok")
	case "NOOP":
		c.reply("250 2.0.0 ok")
	case "QUIT":
		c.reply("221 2.0.0 bye")
		return errQuit
	default:
		c.refuse("500 5.5.2 unknown command")
	}
	return nil
}

// reset ends the transaction.
func (c *conn) reset() {
	c.mail, c.nrcpt, c.size, c.keep = false, 0, 0, false
	c.rcpts, c.content = c.rcpts[:0], c.content[:0]
}

func (c *conn) startMail() {
	if c.mail {
		c.refuse("503 5.5.1 nested MAIL")
		return
	}
	c.sink.count.started()
	c.mail, c.keep = true, c.sink.wants()
	c.reply("250 2.1.0 ok")
}

func (c *conn) addRcpt(args []byte) {
	if !c.mail {
		c.refuse("503 5.5.1 need MAIL")
		return
	}
	c.nrcpt++
	if c.keep {
		_, path, _ := bytes.Cut(args, []byte("<"))
		addr, _, _ := bytes.Cut(path, []byte(">"))
		c.rcpts = append(c.rcpts, string(addr))
	}
	c.reply("250 2.1.5 ok")
}

// take counts, and stores if wanted, a part of the message.
func (c *conn) take(part []byte) {
	c.size += int64(len(part))
	if c.keep {
		c.content = append(c.content, part...)
	}
}

// finish ends the message.
func (c *conn) finish(stuffed bool) {
	if c.keep {
		content := c.content
		if stuffed {
			content = unstuff(content)
		}
		c.sink.store(c.rcpts, content)
	}
	c.sink.count.delivered(c.nrcpt, c.size)
	c.reset()
	c.reply("250 2.0.0 ok")
}

// unstuff takes away the dots that RFC 5321 §4.5.2 has the client add. It
// changes b.
func unstuff(b []byte) []byte {
	out := b[:0]
	lineStart := true
	for _, ch := range b {
		if lineStart && ch == '.' {
			lineStart = false
			continue
		}
		lineStart = ch == '\n'
		out = append(out, ch)
	}
	return out
}

// endOfData ends a message of DATA; without its first line end, which belongs
// to the last line of the message, it is an empty message.
var endOfData = []byte("\r\n.\r\n")

// data reads a message up to the line with a lone dot.
func (c *conn) data() error {
	if c.nrcpt == 0 {
		c.refuse("503 5.5.1 need RCPT")
		return nil
	}
	c.reply("354 go ahead")
	for c.w-c.r < 3 {
		if err := c.fill(); err != nil {
			return err
		}
	}
	if bytes.HasPrefix(c.in[c.r:c.w], endOfData[2:]) {
		c.r += 3
		c.finish(true)
		return nil
	}
	for {
		unread := c.in[c.r:c.w]
		if i := bytes.Index(unread, endOfData); i >= 0 {
			c.take(unread[:i+2])
			c.r += i + len(endOfData)
			c.finish(true)
			return nil
		}
		if n := len(unread) - (len(endOfData) - 1); n > 0 {
			c.take(unread[:n])
			c.r += n
		}
		if err := c.fill(); err != nil {
			return err
		}
	}
}

// bdat reads a chunk, RFC 3030 §2.
func (c *conn) bdat(args string) error {
	size, last, err := parseBdat(args)
	if err != nil {
		c.refuse("501 5.5.4 malformed BDAT")
		return err // what follows can't be told from commands
	}
	ok := c.nrcpt > 0
	for size > 0 {
		if c.r == c.w {
			if err := c.fill(); err != nil {
				return err
			}
		}
		n := min(size, int64(c.w-c.r))
		if ok {
			c.take(c.in[c.r : c.r+int(n)])
		}
		c.r += int(n)
		size -= n
	}
	switch {
	case !ok:
		c.refuse("503 5.5.1 need RCPT")
	case last:
		c.finish(false)
	default:
		c.reply("250 2.0.0 ok")
	}
	return nil
}

// parseBdat reads "1234" or "1234 LAST".
func parseBdat(args string) (size int64, last bool, err error) {
	num, rest, _ := strings.Cut(args, " ")
	n, err := strconv.ParseUint(num, 10, 62)
	if err != nil {
		return 0, false, err
	}
	if rest != "" && !strings.EqualFold(rest, "LAST") {
		return 0, false, errors.New("not LAST")
	}
	return int64(n), rest != "", nil
}
