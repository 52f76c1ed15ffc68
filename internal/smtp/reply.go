package smtp

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/volleymail/volley/bounce"
)

// What a server may say at most. RFC 5321 §4.5.3.1.5 allows 512 octets for a
// line with its end; real ones are longer.
const (
	maxReplyLine  = 2048
	maxReplyLines = 100
	maxReplyText  = 32 << 10
)

var errLongLine = fmt.Errorf("%w: reply line too long", ErrProtocol)

// reply is one reply as it came. It is valid until the next one is read.
type reply struct {
	code int    // 200 to 599
	text []byte // without codes; lines separated by "\n"
}

func (r *reply) class() int { return r.code / 100 }

// bounce makes a value of it that lasts.
func (r *reply) bounce(stage bounce.Stage, host string) bounce.Reply {
	status, text := cutStatus(r.text)
	return bounce.Reply{Stage: stage, Code: r.code, Status: status, Text: text, Host: host}
}

// reader reads replies in bounded memory.
type reader struct {
	fillFrom io.Reader
	buf      [2 * maxReplyLine]byte
	r, w     int // buf[r:w] is not used yet
	multi    []byte
	last     reply
}

// buffered returns how much was read and not used.
func (b *reader) buffered() int { return b.w - b.r }

// fill reads once.
func (b *reader) fill() error {
	if b.r > 0 {
		b.w = copy(b.buf[:], b.buf[b.r:b.w])
		b.r = 0
	}
	for range 100 { // as bufio: a Reader that returns nothing forever is broken
		n, err := b.fillFrom.Read(b.buf[b.w:])
		b.w += n
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// line reads one line, without its end: CRLF, or, tolerated, LF.
func (b *reader) line() ([]byte, error) {
	seen := 0
	for {
		i := bytes.IndexByte(b.buf[b.r+seen:b.w], '\n')
		if i >= 0 {
			line := b.buf[b.r : b.r+seen+i]
			b.r += seen + i + 1
			if len(line) >= maxReplyLine {
				return nil, errLongLine
			}
			return bytes.TrimSuffix(line, []byte("\r")), nil
		}
		if seen = b.buffered(); seen >= maxReplyLine {
			return nil, errLongLine
		}
		if err := b.fill(); err != nil {
			return nil, err
		}
	}
}

// reply reads one reply (RFC 5321 §4.2). The result is valid until the next call.
func (b *reader) reply() (*reply, error) {
	line, err := b.line()
	if err != nil {
		return nil, err
	}
	code, more, text, err := parseLine(line)
	if err != nil {
		return nil, err
	}
	b.last = reply{code: code, text: text}
	if !more {
		return &b.last, nil
	}
	b.multi = append(b.multi[:0], text...)
	for n := 2; more; n++ {
		if line, err = b.line(); err != nil {
			return nil, err
		}
		var c int
		if c, more, text, err = parseLine(line); err != nil {
			return nil, err
		}
		switch {
		case c != code: // RFC 5321 §4.2.1: the code on each line must be the same
			return nil, fmt.Errorf("%w: reply with codes %d and %d", ErrProtocol, code, c)
		case n > maxReplyLines || len(b.multi)+len(text) >= maxReplyText:
			return nil, fmt.Errorf("%w: reply too long", ErrProtocol)
		}
		b.multi = append(append(b.multi, '\n'), text...)
	}
	b.last.text = b.multi
	return &b.last, nil
}

// parseLine takes one line of a reply apart. A code without text may lack the
// space (RFC 5321 §4.2).
func parseLine(line []byte) (code int, more bool, text []byte, err error) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' || !digit(line[1]) || !digit(line[2]) ||
		len(line) > 3 && line[3] != ' ' && line[3] != '-' {
		return 0, false, nil, fmt.Errorf("%w: %q is no reply", ErrProtocol, line[:min(len(line), 40)])
	}
	code = int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	if len(line) > 3 {
		more, text = line[3] == '-', bytes.TrimRight(line[4:], " ")
	}
	return code, more, text, nil
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// cutStatus takes the enhanced status code from the start of every line (RFC
// 2034 §4), and drops lines without text. The first line that has a status decides.
func cutStatus(text []byte) (bounce.Status, string) {
	status, n := parseStatus(text)
	if bytes.IndexByte(text, '\n') < 0 {
		return status, printable(text[n:])
	}
	var b strings.Builder
	for line := range bytes.SplitSeq(text, []byte{'\n'}) {
		s, n := parseStatus(line)
		if status == (bounce.Status{}) {
			status = s
		}
		if n == len(line) {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(printable(line[n:]))
	}
	return status, b.String()
}

// parseStatus reads "class.subject.detail" (RFC 3463 §2) and the spaces behind
// it, n octets in all; n is 0 if there is none.
func parseStatus(b []byte) (s bounce.Status, n int) {
	if len(b) < 5 || (b[0] != '2' && b[0] != '4' && b[0] != '5') || b[1] != '.' {
		return bounce.Status{}, 0
	}
	s[0] = uint16(b[0] - '0')
	n = 1
	for part := 1; part < 3; part++ {
		if n >= len(b) || b[n] != '.' {
			return bounce.Status{}, 0
		}
		n++
		start := n
		for n < len(b) && digit(b[n]) && n-start < 3 {
			s[part] = s[part]*10 + uint16(b[n]-'0')
			n++
		}
		if n == start {
			return bounce.Status{}, 0
		}
	}
	if n < len(b) && b[n] != ' ' {
		return bounce.Status{}, 0
	}
	for n < len(b) && b[n] == ' ' {
		n++
	}
	return s, n
}

// printable makes a string of what a server said that is safe in logs and on
// terminals: valid UTF-8 without control characters.
func printable(b []byte) string {
	for _, c := range b {
		if c < ' ' || c >= 0x7f {
			return strings.Map(func(r rune) rune {
				if r == utf8.RuneError || r < ' ' || 0x7f <= r && r < 0xa0 {
					return '?'
				}
				return r
			}, string(b))
		}
	}
	return string(b)
}
