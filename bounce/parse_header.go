package bounce

import (
	"mime"
	"net/mail"
	"strings"
	"time"

	"github.com/emersion/go-message/charset"
)

// maxField bounds a folded field, in octets.
const maxField = 16 << 10

// readHeader reads a header block, as broken as it may be: the lines of an mbox
// or of a program before it, parameters that begin a line of their own, fields
// without a colon.
func readHeader(block string) Header {
	h := make(Header, 0, 1+strings.Count(block, "\n"))
	for block != "" {
		var line string
		line, block, _ = strings.Cut(block, "\n")
		if line == "" {
			continue
		}
		name, value, ok := cutField(line)
		switch {
		case ok:
			h = append(h, Field{name, value})
		case len(h) > 0 && (line[0] == ' ' || line[0] == '\t' || isParameter(line)):
			last := &h[len(h)-1]
			if rest := strings.TrimSpace(line); rest != "" && len(last.Value) < maxField {
				last.Value = strings.TrimSpace(last.Value + " " + rest)
			}
		}
	}
	return h
}

// cutField splits "Name: value"; false if the line is no field.
func cutField(line string) (name, value string, ok bool) {
	n := 0
	for n < len(line) && line[n] > ' ' && line[n] != ':' && line[n] < 0x7f {
		n++
	}
	name = line[:n]
	if rest := strings.TrimLeft(line[n:], " \t"); n == 0 || n > 76 || rest == "" || rest[0] != ':' {
		return "", "", false
	} else {
		return name, strings.TrimSpace(rest[1:]), true
	}
}

// isParameter recognises a parameter whose line lost its indent, as
// `boundary="x"`.
func isParameter(line string) bool {
	name, _, ok := strings.Cut(line, "=")
	return ok && (equalName(name, "boundary") || equalName(name, "charset") || equalName(name, "report-type") || equalName(name, "name"))
}

var wordDecoder = mime.WordDecoder{CharsetReader: charset.Reader}

// decodeWords decodes the encoded words of a field's value.
func decodeWords(s string) string {
	if !strings.Contains(s, "=?") {
		return s
	}
	if d, err := wordDecoder.DecodeHeader(s); err == nil {
		return d
	}
	return s
}

// decoded returns the header with its encoded words decoded.
func (h Header) decoded() Header {
	for i := range h {
		h[i].Value = decodeWords(h[i].Value)
	}
	return h
}

// mediaType splits a Content-Type into its type, in lower case, and its
// parameters; it tolerates what mime.ParseMediaType refuses.
func mediaType(value string) (kind, params string) {
	kind, params, _ = strings.Cut(value, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	if i := strings.IndexAny(kind, " \t"); i >= 0 { // the semicolon is missing
		kind, params = kind[:i], value
	}
	return kind, params
}

// parameter returns a parameter of a Content-Type, "" if it has none.
func parameter(params, name string) string {
	for i := 0; i+len(name) < len(params); i++ {
		if !equalName(params[i:i+len(name)], name) || i > 0 && (isWord(params[i-1]) || params[i-1] == '-') {
			continue
		}
		rest := strings.TrimLeft(params[i+len(name):], " \t")
		if rest == "" || rest[0] != '=' {
			continue
		}
		rest = strings.TrimLeft(rest[1:], " \t")
		if strings.HasPrefix(rest, `"`) {
			rest, _, _ = strings.Cut(rest[1:], `"`)
			return rest
		}
		if end := strings.IndexAny(rest, "; \t"); end >= 0 {
			rest = rest[:end]
		}
		return rest
	}
	return ""
}

// dateLayouts are forms of dates that net/mail does not read.
var dateLayouts = []string{time.RFC3339Nano, time.ANSIC, time.UnixDate, "Mon, 2 Jan 2006 15:04:05", "2006-01-02 15:04:05", "Mon Jan 2 15:04:05 2006 -0700"}

// parseDate reads a date; zero if it is none, or one that RFC 3339 cannot write:
// a time zone a day from Greenwich would fail the user's JSON.
func parseDate(s string) time.Time {
	if t := readDate(s); t.IsZero() || isRFC3339(t) {
		return t
	}
	return time.Time{}
}

func isRFC3339(t time.Time) bool {
	_, err := t.MarshalText()
	return err == nil
}

func readDate(s string) time.Time {
	s = strings.TrimSpace(s)
	if s == "" || len(s) > 80 {
		return time.Time{}
	}
	if t, err := time.Parse("Mon, 2 Jan 2006 15:04:05 -0700", cutComment(s)); err == nil { // nearly always
		return t
	}
	if t, err := mail.ParseDate(s); err == nil {
		return t
	}
	for _, layout := range dateLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t
		}
	}
	return time.Time{}
}

// cutComment removes the name of the time zone: "+0900 (JST)".
func cutComment(s string) string {
	if i := strings.IndexByte(s, '('); i > 0 {
		return strings.TrimSpace(s[:i])
	}
	return s
}

// messageID takes the first message-id of a field, with the angle brackets that
// it has.
func messageID(value string) string {
	value = strings.TrimSpace(value)
	if i := strings.IndexByte(value, '<'); i >= 0 {
		if n := strings.IndexByte(value[i:], '>'); n > 0 {
			return value[i : i+n+1]
		}
	}
	id, _, _ := strings.Cut(value, " ")
	return id
}
