package sender

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/volleymail/volley/internal/smtp"
)

// frontRoom is kept free before a rendered mail for the header fields that are
// added to it and for what goes before it on the wire. More is made when a
// signature needs it.
const frontRoom = smtp.Headroom + 2048

// bodies recycles the memory of rendered mails. A connection holds one only
// while a transaction runs.
var bodies = sync.Pool{New: func() any { return new(smtp.Body) }}

// maxPooled keeps a few giant mails from staying in memory for good.
const maxPooled = 1 << 20

func freeBody(b *smtp.Body) {
	if b != nil && cap(b.Buf) <= maxPooled {
		bodies.Put(b)
	}
}

// bodyWriter collects what Content writes.
type bodyWriter struct {
	buf []byte
	max int
}

var errTooLarge = errors.New("the mail is larger than Config.MaxMessageSize")

func (w *bodyWriter) Write(p []byte) (int, error) {
	if len(w.buf)-frontRoom+len(p) > w.max {
		return 0, errTooLarge
	}
	w.buf = append(w.buf, p...)
	return len(p), nil
}

// WriteString saves a copy to those who have a string.
func (w *bodyWriter) WriteString(p string) (int, error) {
	if len(w.buf)-frontRoom+len(p) > w.max {
		return 0, errTooLarge
	}
	w.buf = append(w.buf, p...)
	return len(p), nil
}

// render makes the mail of m as it goes out: written by Content, line ends and
// header mended, signed. The second result says that the header needs SMTPUTF8.
func (s *Sender) render(m *Message, signer Signer, to []string, id uint64, born, now time.Time) (*smtp.Body, bool, error) {
	b := bodies.Get().(*smtp.Body)
	utf8Header, err := s.renderInto(b, m, signer, to, id, born, now)
	if err != nil {
		freeBody(b)
		return nil, false, err
	}
	return b, utf8Header, nil
}

func (s *Sender) renderInto(b *smtp.Body, m *Message, signer Signer, to []string, id uint64, born, now time.Time) (bool, error) {
	w := bodyWriter{buf: grow(b.Buf[:0], frontRoom), max: s.cfg.MaxMessageSize}
	err := s.write(&w, m)
	b.Buf, b.Start = w.buf, frontRoom
	if err != nil {
		return false, err
	}
	if err := mendLines(b); err != nil {
		return false, err
	}
	h, err := mendHeader(b)
	if err != nil {
		return false, err
	}
	if !h.messageID {
		prepend(b, []byte("Message-ID: <"+s.messageID(m, id, h.from)+">\r\n"))
	}
	if !h.date {
		prepend(b, born.AppendFormat([]byte("Date: "), "Mon, 02 Jan 2006 15:04:05 -0700\r\n"))
	}
	if signer != nil {
		var fields []byte
		err := s.guard(func() (err error) { fields, err = signer.Sign(now, m.From, to, b.Buf[b.Start:]); return err })
		if err != nil {
			return false, fmt.Errorf("Signer: %w", err)
		}
		prepend(b, fields)
	}
	return h.eightBit, nil
}

// write makes the caller's code write the mail.
func (s *Sender) write(w *bodyWriter, m *Message) error {
	if m.Content == nil {
		if err := s.guard(func() error { return s.execute(w, m) }); err != nil {
			return fmt.Errorf("Message.Template %q: %w", m.Template, err)
		}
		return nil
	}
	if err := s.guard(func() error { _, err := m.Content.WriteTo(w); return err }); err != nil {
		return fmt.Errorf("Message.Content: %w", err)
	}
	return nil
}

// grow returns buf with n octets of any content.
func grow(buf []byte, n int) []byte {
	if cap(buf) < n {
		buf = make([]byte, 0, n+4096)
	}
	return buf[:n]
}

// guard calls the user's code. A panic in it must cost this message and not the
// process; where it was goes to the Logger.
func (s *Sender) guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.cfg.log.Error("panic in the caller's code", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return f()
}

// prepend puts p before the mail.
func prepend(b *smtp.Body, p []byte) {
	if b.Start-smtp.Headroom < len(p) {
		room := len(p) + frontRoom
		buf := make([]byte, room+len(b.Buf)-b.Start)
		copy(buf[room:], b.Buf[b.Start:])
		b.Buf, b.Start = buf, room
	}
	b.Start -= len(p)
	copy(b.Buf[b.Start:], p)
}

// mendLines makes CRLF out of bare LF, ends the mail with CRLF, and finds what
// the wire needs to know. It refuses bare CR and NUL (RFC 5321 §2.3.8: the
// stuff of SMTP smuggling) and lines over 998 octets (RFC 5322 §2.1.1).
func mendLines(b *smtp.Body) error {
	msg := b.Buf[b.Start:]
	if len(msg) == 0 {
		return errors.New("Message.Content wrote nothing: it must write the mail at each attempt; a strings.Reader or bytes.Buffer is empty at the second")
	}
	if i := bytes.IndexByte(msg, 0); i >= 0 {
		return fmt.Errorf("the mail has a NUL at octet %d: encode binary parts in base64 (RFC 5322 §2.1)", i)
	}
	crlf, err := scanLines(b, msg)
	if err != nil {
		return err
	}
	if !crlf {
		b.Buf = append(b.Buf[:b.Start], bytes.ReplaceAll(bytes.ReplaceAll(msg, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))...)
	}
	if !bytes.HasSuffix(b.Buf, []byte("\r\n")) {
		b.Buf = append(b.Buf, '\r', '\n')
	}
	b.EightBit = !isASCII(b.Buf[b.Start:])
	return nil
}

const maxLine = 998

// scanLines walks over the lines and reports whether each LF follows a CR.
func scanLines(b *smtp.Body, msg []byte) (crlf bool, err error) {
	crlf, b.Dots = true, msg[0] == '.'
	crs, lines := bytes.Count(msg, []byte{'\r'}), 0
	for rest := msg; len(rest) > 0; lines++ {
		n := bytes.IndexByte(rest, '\n')
		if n < 0 {
			n = len(rest)
		}
		length := n
		if n > 0 && n < len(rest) && rest[n-1] == '\r' {
			length--
			crs--
		} else if n < len(rest) {
			crlf = false
		}
		if length > maxLine {
			return false, fmt.Errorf("line %d of the mail has %d octets, %d are allowed (RFC 5322 §2.1.1): fold it, or encode the part in quoted-printable or base64", lines+1, length, maxLine)
		}
		if n+1 >= len(rest) {
			break
		}
		rest = rest[n+1:]
		b.Dots = b.Dots || rest[0] == '.'
	}
	if crs > 0 {
		return false, errors.New("the mail has a CR without LF (RFC 5321 §2.3.8): end lines with CRLF or LF")
	}
	return crlf, nil
}

func isASCIIString(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// isASCII looks at eight octets at a time.
func isASCII(p []byte) bool {
	const high = 0x8080808080808080
	for len(p) >= 32 {
		if (binary.NativeEndian.Uint64(p)|binary.NativeEndian.Uint64(p[8:])|
			binary.NativeEndian.Uint64(p[16:])|binary.NativeEndian.Uint64(p[24:]))&high != 0 {
			return false
		}
		p = p[32:]
	}
	for _, c := range p {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
