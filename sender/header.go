package sender

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/volleymail/volley/internal/smtp"
)

// header is what mendHeader found.
type header struct {
	messageID bool
	date      bool
	eightBit  bool   // UTF-8 in the header: needs SMTPUTF8 (RFC 6532)
	from      []byte // value of From, valid until the mail is changed
}

// single are the header fields that a mail has at most once (RFC 5322 §3.6,
// RFC 2045 §3, RFC 2369 §3.5, RFC 8058 §3.1), as bits of one word.
var single = []string{"from", "sender", "reply-to", "to", "cc", "message-id", "in-reply-to", "references",
	"subject", "date", "mime-version", "content-type", "content-transfer-encoding", "list-unsubscribe", "list-unsubscribe-post", "list-id"}

// dropped are the fields that must not go out: Bcc would tell who else got the
// mail (RFC 5322 §3.6.3), Return-Path is the receiver's to write (RFC 5321 §4.4).
var dropped = []string{"bcc", "resent-bcc", "return-path"}

// mendHeader checks the header of a mail with clean line ends, takes out what
// must not go out, and adds the empty line after it if it is missing.
func mendHeader(b *smtp.Body) (header, error) {
	var h header
	var seen uint
	line := 0
	at := b.Start
	for at < len(b.Buf) && !bytes.HasPrefix(b.Buf[at:], []byte("\r\n")) {
		line++
		end, lines := fieldEnd(b.Buf, at)
		name, value, err := splitField(b.Buf[at:end])
		if err != nil {
			return h, fmt.Errorf("line %d of the header: %w", line, err)
		}
		line += lines - 1
		if matches(dropped, name) >= 0 {
			h.from = bytes.Clone(h.from) // what it stands in moves
			copy(b.Buf[b.Start+end-at:], b.Buf[b.Start:at])
			b.Start += end - at
			at = end
			continue
		}
		if i := matches(single, name); i >= 0 {
			if seen&(1<<i) != 0 {
				return h, fmt.Errorf("the header has %s twice, once is allowed (RFC 5322 §3.6)", name)
			}
			seen |= 1 << i
			if err := h.note(single[i], value); err != nil {
				return h, err
			}
		}
		at = end
	}
	return h, h.finish(b, at)
}

func (h *header) note(name string, value []byte) error {
	switch name {
	case "from":
		h.from = value
	case "message-id":
		h.messageID = true
	case "date":
		h.date = true
	default:
		return nil
	}
	if len(value) == 0 {
		return fmt.Errorf("the header's %s is empty: give it a value (Date and Message-ID can be left out, they are added)", name)
	}
	return nil
}

// finish judges the header as a whole; end is where it ends.
func (h *header) finish(b *smtp.Body, end int) error {
	if at := bytes.IndexByte(h.from, '@'); at < 0 {
		return errors.New("the header has no From with an address (RFC 5322 §3.6.2)")
	}
	if end >= len(b.Buf) {
		b.Buf = append(b.Buf, '\r', '\n')
	}
	if b.EightBit && !isASCII(b.Buf[b.Start:end]) {
		if !utf8.Valid(b.Buf[b.Start:end]) {
			return errors.New("the header has octets that are not UTF-8: encode them (RFC 2047)")
		}
		h.eightBit = true
	}
	return nil
}

// fieldEnd returns where the field that starts at at ends, with its
// continuation lines, and how many lines it has.
func fieldEnd(buf []byte, at int) (end, lines int) {
	for {
		lines++
		n := bytes.IndexByte(buf[at:], '\n')
		at += n + 1 // the mail ends in CRLF, so there is one
		if at >= len(buf) || buf[at] != ' ' && buf[at] != '\t' {
			return at, lines
		}
	}
}

func splitField(field []byte) (name, value []byte, err error) {
	colon := bytes.IndexByte(field, ':')
	if colon <= 0 {
		return nil, nil, fmt.Errorf("%q is no header field: the header ends with an empty line (RFC 5322 §2.1)", excerpt(field))
	}
	name = bytes.TrimRight(field[:colon], " \t")
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			return nil, nil, fmt.Errorf("%q is no header field: a name has no spaces (RFC 5322 §2.2)", excerpt(field))
		}
	}
	return name, bytes.TrimSpace(field[colon+1:]), nil
}

func excerpt(p []byte) []byte {
	p = bytes.TrimSpace(p)
	return p[:min(len(p), 60)]
}

// matches returns the index of name in list, whatever its case, or -1.
func matches(list []string, name []byte) int {
	return slices.IndexFunc(list, func(s string) bool {
		return len(s) == len(name) && strings.EqualFold(s, string(name))
	})
}

// messageID makes the Message-ID of m, numbered id: the same for each attempt,
// different for each message of each Sender, and each Queue (RFC 5322 §3.6.4).
func (s *Sender) messageID(m *Message, id uint64, header []byte) string {
	nonce, from := s.nonce, m.From
	if m.queued != nil {
		nonce = s.queueNonce
	}
	domain := s.cfg.Hostname
	if m, err := parseMailbox(from); err == nil {
		domain = m.domain
	} else if m, err := parseMailbox(addrSpec(header)); err == nil {
		domain = m.domain
	}
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], id)
	return fmt.Sprintf("%x.%s@%s", n, nonce, domain)
}

// newMessageID makes one for a mail that keeps it.
func newMessageID(domain string) string { return rand.Text() + "@" + domain }

// addrSpec picks the address out of the value of From.
func addrSpec(value []byte) string {
	if i := bytes.LastIndexByte(value, '<'); i >= 0 {
		value, _, _ = bytes.Cut(value[i+1:], []byte{'>'})
	}
	return string(bytes.TrimSpace(value))
}
