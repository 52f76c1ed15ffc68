package notice

import (
	"bytes"
	"net/mail"
	"strings"
	"unicode/utf8"
)

// whole reports whether the mail is returned with its body: for failures only
// (RFC 3461 §4.3).
func (r *Report) whole() bool {
	return r.Full && r.Action == Failed && len(r.Mail) <= r.MaxReturn
}

// mailPart returns the mail, or its header. A whole one goes as it is:
// message/rfc822 must not be encoded (RFC 2046 §5.2.1).
func (r *Report) mailPart() []byte {
	header := headerOf(r.Mail)
	plain := ascii(header)
	if !r.whole() {
		kind := "text/rfc822-headers" // RFC 6522 §4
		if !plain {
			kind = "message/global-headers" // RFC 6533 §6
		}
		return part(kind, "Header of the mail", cutFields(header, max(r.MaxReturn, minHeader)))
	}
	kind, encoding := "message/rfc822", "7bit"
	if !plain {
		kind = "message/global" // RFC 6533 §5
	}
	if !ascii(r.Mail) {
		encoding = "8bit"
	}
	return append(partHeader(kind, "The mail", encoding), r.Mail...)
}

// minHeader is what of a header is returned in any case.
const minHeader = 4 << 10

// headerOf returns the header of a mail, with the line end of its last field.
func headerOf(msg []byte) []byte {
	if i := bytes.Index(msg, []byte("\r\n\r\n")); i >= 0 {
		return msg[:i+2]
	}
	return msg
}

// cutFields returns the fields of a header that fit into max octets.
func cutFields(header []byte, max int) []byte {
	if len(header) <= max {
		return header
	}
	for end := max; end > 0; end-- {
		if bytes.HasPrefix(header[end-1:], []byte("\n")) && header[end] != ' ' && header[end] != '\t' {
			return header[:end]
		}
	}
	return nil
}

// originalID returns the mail's Message-ID with its angle brackets, "" if it has
// none that can stand in a field of ours.
func originalID(msg []byte) string {
	header := headerOf(msg)
	m, err := mail.ReadMessage(bytes.NewReader(append(header[:len(header):len(header)], "\r\n"...)))
	if err != nil {
		return ""
	}
	_, id, _ := strings.Cut(m.Header.Get("Message-ID"), "<")
	id, _, closed := strings.Cut(id, ">")
	unfit := func(c rune) bool { return c <= ' ' || c > '~' || c == '<' }
	if id == "" || !closed || len(id) > 250 || strings.ContainsFunc(id, unfit) {
		return ""
	}
	return "<" + id + ">"
}

func ascii(p []byte) bool {
	for _, c := range p {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
