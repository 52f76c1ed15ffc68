package sendertest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxTextLine is the longest line of a message, with its CRLF (RFC 5321 §4.5.3.1.6).
const maxTextLine = 1000

// dataCommand takes a message by DATA (RFC 5321 §4.1.1.4).
func (c *conn) dataCommand(args, line string) {
	switch {
	case args != "":
		c.say(StageData, line, badSyntaxReply)
		return
	case !c.tx.open || c.tx.chunked:
		c.say(StageData, line, badSequenceReply) // MAIL of the same group may have been refused
		return
	case len(c.tx.rcpts) == 0:
		c.say(StageData, line, noRcptReply)
		return
	case !c.say(StageData, line, startReply):
		return
	}
	if d := c.behavior().drop(StageBody, c.luck); d != nil {
		_, _ = c.r.ReadSlice('\n')
		c.drop(d)
		return
	}
	if err := c.readDotted(); err != nil {
		c.giveUp(err)
		return
	}
	c.finish()
}

// readDotted reads up to the final dot and undoes dot-stuffing (RFC 5321
// §4.5.2). Only CRLF . CRLF ends the message.
func (c *conn) readDotted() error {
	newLine, cr := true, false // the last bytes were CRLF; CR
	for {
		part, err := c.r.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return err
		}
		if newLine {
			if string(part) == ".\r\n" {
				return nil
			}
			if part[0] == '.' {
				part = part[1:]
			}
		}
		c.keep(part)
		newLine = err == nil && (bytes.HasSuffix(part, []byte("\r\n")) || cr && string(part) == "\n")
		cr = bytes.HasSuffix(part, []byte("\r"))
	}
}

// keep appends to the body what is needed of it.
func (c *conn) keep(part []byte) {
	if c.wants(len(part)) {
		c.body = append(c.body, part...)
	}
}

// wants counts n bytes of the message, and reports whether they are needed.
func (c *conn) wants(n int) bool {
	b := c.behavior()
	c.tx.size += n
	c.tx.tooBig = c.tx.tooBig || c.tx.size > b.maxSize()
	return !c.tx.tooBig && (b.Message != nil || !c.host.sandbox.options.CountOnly)
}

// bdatCommand takes a chunk of a message (RFC 3030 §2). Its bytes are read
// whatever the answer will be.
func (c *conn) bdatCommand(args, line string) {
	word, rest, _ := strings.Cut(args, " ")
	size, err := strconv.ParseUint(word, 10, 40)
	last := strings.EqualFold(rest, "LAST")
	if err != nil || rest != "" && !last {
		c.violation(fmt.Sprintf("bad syntax: %.80q", line))
		c.say(StageData, line, badSyntaxReply)
		c.closing = true // where the next command begins is not known
		return
	}
	stage := StageData
	if last {
		stage = StageDot
	}
	good := c.tx.open && len(c.tx.rcpts) > 0 && c.behavior().offers(Chunking) && c.esmtp
	if good {
		if d := c.behavior().drop(StageBody, c.luck); d != nil {
			_, _ = io.CopyN(io.Discard, c.r, int64(size/2))
			c.drop(d)
			return
		}
	}
	if err := c.readChunk(size, good); err != nil {
		c.giveUp(err)
		return
	}
	switch {
	case !c.behavior().offers(Chunking) || !c.esmtp:
		c.violation("BDAT without CHUNKING")
		c.say(stage, line, badCommandReply)
	case !c.tx.open:
		c.say(stage, line, badSequenceReply)
	case len(c.tx.rcpts) == 0:
		c.say(stage, line, noRcptReply)
	case last:
		c.tx.chunked = true
		c.finish()
	default:
		c.tx.chunked = true
		c.say(stage, line, okReply)
	}
}

// readChunk reads the bytes of a BDAT. Replies to the commands before it go out
// together with its own.
func (c *conn) readChunk(size uint64, keep bool) error {
	c.hold = true
	defer func() { c.hold = false }()
	if !keep || !c.wants(int(size)) {
		_, err := io.CopyN(io.Discard, c.r, int64(size))
		return err
	}
	begin := len(c.body)
	c.body = slices.Grow(c.body, int(size))[:begin+int(size)]
	_, err := io.ReadFull(c.r, c.body[begin:])
	return err
}

// finish judges a complete message, keeps it if it is accepted, and answers.
func (c *conn) finish() {
	b := c.behavior()
	m := &Message{
		Host:        c.host.name,
		Conn:        c.id,
		Source:      c.source,
		RemoteHello: c.hello,
		User:        c.user,
		TLS:         c.tls,
		Chunked:     c.tx.chunked,
		Time:        time.Now(),
		From:        c.tx.from,
		MailOptions: c.tx.options,
		Rcpts:       c.tx.rcpts,
		RcptOptions: c.tx.rcptOptions,
		Data:        c.body,
		Bytes:       c.tx.size,
	}
	r := &Reply{Code: 250, Status: "2.0.0", Text: "Accepted as " + strconv.FormatUint(c.id, 10) + "-" + strconv.Itoa(c.begun)}
	if c.tx.tooBig {
		r = tooBigReply
	} else if !c.host.sandbox.options.CountOnly {
		c.checkBody()
	}
	if b.Message != nil && !c.tx.tooBig {
		if no := b.Message(m); no != nil {
			r = no
		}
	}
	a := c.decide(StageDot, "", r)
	m.Dropped = a.drop != nil && r.Code < 400
	if a.positive() || m.Dropped {
		c.host.accept(m) // before the client knows: it may look at once
	}
	c.count(a, false)
	c.send(a)
	c.tx = transaction{}
	if b.NoChain {
		c.refuseChained()
	}
}

// refuseChained answers 503 to what the client has sent already.
func (c *conn) refuseChained() {
	for c.r.Buffered() > 0 && !c.closing {
		line, err := c.readLine()
		if err != nil {
			c.giveUp(err)
			return
		}
		c.say(StageReset, line, badSequenceReply)
	}
}

// checkBody notes what no message may have (RFC 5321 §2.3.8, §4.5.3.1.6; RFC 6152).
func (c *conn) checkBody() {
	if !c.tx.eightBit && hasHighBit(c.body) {
		c.violation("message has octets over 127 without BODY=8BITMIME")
	}
	for rest := c.body; len(rest) > 0; {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			c.violation("message does not end in CRLF")
			return
		}
		if cr := bytes.IndexByte(rest[:end], '\r'); cr < 0 || cr != end-1 {
			c.violation("message has a bare CR or LF")
			return
		}
		if end+1 > maxTextLine {
			c.violation("message has a line of more than 998 octets")
			return
		}
		rest = rest[end+1:]
	}
}

func hasHighBit(b []byte) bool {
	for ; len(b) >= 8; b = b[8:] {
		if binary.LittleEndian.Uint64(b)&0x8080808080808080 != 0 {
			return true
		}
	}
	for _, x := range b {
		if x >= 0x80 {
			return true
		}
	}
	return false
}
