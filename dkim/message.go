package dkim

import (
	"bytes"
	"fmt"
)

// MessageProblem says why a message can't be signed.
type MessageProblem uint8

// The problems of a message.
const (
	NoFrom      MessageProblem = iota + 1 // there is no From field; it must be signed (RFC 6376 §5.4)
	BadHeader                             // a line of the header is neither a field nor its continuation
	BareLineEnd                           // a CR without LF or a LF without CR; a relay would change it (RFC 6376 §5.3)
)

func (p MessageProblem) String() string {
	switch p {
	case NoFrom:
		return "no From field"
	case BadHeader:
		return "malformed header line"
	case BareLineEnd:
		return "bare CR or LF"
	}
	return fmt.Sprintf("MessageProblem(%d)", uint8(p))
}

// MessageError says that a message can't be signed, and where it is wrong.
type MessageError struct {
	Problem MessageProblem
	Line    int    // counted from 1; 0 if no line is at fault
	Text    string // how that line begins
}

func (e *MessageError) Error() string {
	if e.Line == 0 {
		return "dkim: cannot sign: " + e.Problem.String()
	}
	return fmt.Sprintf("dkim: cannot sign: line %d: %s: %s", e.Line, e.Problem, quote(e.Text))
}

// errorAt describes a problem at an offset of msg.
func errorAt(msg []byte, offset int, p MessageProblem) error {
	const most = 60
	line := msg[bytes.LastIndexByte(msg[:offset], '\n')+1:]
	if end := bytes.IndexByte(line, '\n'); end >= 0 {
		line = line[:end+1]
	}
	return &MessageError{
		Problem: p,
		Line:    bytes.Count(msg[:offset], []byte("\n")) + 1,
		Text:    string(bytes.TrimSuffix(line[:min(len(line), most)], crlf)),
	}
}

// field is one header field in its relaxed form.
type field struct {
	canon []byte // "name:value\r\n"
	name  []byte // in lower case, part of canon
}

// header is a parsed header; its memory is used again.
type header struct {
	fields []field
	canon  []byte // the fields' memory
}

// read parses the header of msg and returns where the body begins. The header
// ends with a blank line or with the message, if that has no body.
func (h *header) read(msg []byte) (body int, err error) {
	end, body := split(msg)
	if at := bareLineEnd(msg[:end]); at >= 0 {
		return 0, errorAt(msg, at, BareLineEnd)
	}
	// The relaxed form is never longer, but for the CRLF that the last line may
	// lack: with room for it, canon never moves.
	if need := end + 2; cap(h.canon) < need {
		h.canon = make([]byte, 0, 2*need)
	}
	h.canon = h.canon[:0]
	h.fields = h.fields[:0]

	hasFrom := false
	for at := 0; at < end; {
		raw := rawField(msg[at:end])
		colon := bytes.IndexByte(raw, ':')
		if colon < 0 {
			return 0, errorAt(msg, at, BadHeader)
		}
		name := bytes.TrimRight(raw[:colon], " \t") // obs-optional, RFC 5322 §4.5.8
		if !isFieldName(name) {
			return 0, errorAt(msg, at, BadHeader)
		}
		start := len(h.canon)
		h.canon = appendField(h.canon, name, raw[colon+1:])
		f := field{canon: h.canon[start:], name: h.canon[start : start+len(name)]}
		h.fields = append(h.fields, f)
		hasFrom = hasFrom || string(f.name) == "from"
		at += len(raw)
	}
	if !hasFrom {
		return 0, &MessageError{Problem: NoFrom}
	}
	return body, nil
}

// split returns where the header ends and where the body begins.
func split(msg []byte) (end, body int) {
	if bytes.HasPrefix(msg, crlf) {
		return 0, len(crlf)
	}
	if i := bytes.Index(msg, []byte("\r\n\r\n")); i >= 0 {
		return i + 2, i + 4
	}
	return len(msg), len(msg)
}

// rawField returns the field at the beginning of b with its continuation lines.
func rawField(b []byte) []byte {
	end := 0
	for {
		n := bytes.IndexByte(b[end:], '\n')
		if n < 0 {
			return b
		}
		end += n + 1
		if end == len(b) || !isWSP(b[end]) {
			return b[:end]
		}
	}
}
