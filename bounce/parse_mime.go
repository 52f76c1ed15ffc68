package bounce

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
)

// What is kept of a mail, in octets. The rest is only passed over.
const (
	keepHeader = 64 << 10  // of each header
	keepText   = 128 << 10 // of each part of text
	keepFields = 256 << 10 // of each part that is fields, such as message/delivery-status
	keepAll    = 1 << 20   // of the whole mail
)

const maxParts = 1000

// partKind is what a part of a mail is to a reader of reports.
type partKind uint8

const (
	partOther    partKind = iota // an attachment, not kept
	partText                     // text/plain, or no type
	partHTML                     // text/html
	partStatus                   // message/delivery-status
	partFeedback                 // message/feedback-report
	partMDN                      // message/disposition-notification
	partOriginal                 // the message that came back, or its header; only that is kept
	partMulti                    // a multipart, which has no content of its own
)

// part is a leaf of a mail's tree.
type part struct {
	kind   partKind
	header Header
	params string // of its Content-Type
	raw    []byte // its content, still encoded
	full   bool   // the header of an original is complete
	nested bool   // the original is a report itself, and kept whole

	preamble bool // what stands before the first delimiter: text if there is no delimiter
}

// mimeMail is a mail taken apart, with what of it matters.
type mimeMail struct {
	header Header
	kind   string // media type of the whole
	params string
	parts  []*part
}

func (m *mimeMail) first(kind partKind) *part {
	for _, p := range m.parts {
		if p.kind == kind {
			return p
		}
	}
	return nil
}

// walker takes a mail apart, line by line.
type walker struct {
	mail     *mimeMail
	maxDepth int
	stack    []multipart
	cur      *part  // nil in an epilogue
	stray    []byte // a line of the mail's own header that is no field
	dashes   []byte // the last line, if it can be a delimiter that the header has wrong
	block    []byte // the header being read
	inHeader bool
	kept     int // octets
	count    int // parts
}

type multipart struct {
	boundary string // "" if the header names none and none was seen
	digest   bool
	seen     bool // its delimiter was met
}

// walk reads a whole mail. With an error it returns what it read until then.
func walk(l *lines, maxDepth int) (*mimeMail, error) {
	w := &walker{mail: &mimeMail{}, maxDepth: maxDepth, inHeader: true}
	for {
		line, err := l.next()
		if err == nil {
			err = w.line(line)
		}
		if err != nil {
			if w.inHeader {
				_ = w.endStray() // the mail ends with its header
			}
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return w.mail, err
		}
	}
}

func (w *walker) line(line []byte) error {
	if len(w.dashes) > 0 {
		w.adopt(line)
	}
	if len(w.stack) > 0 && len(line) > 2 && line[0] == '-' && line[1] == '-' {
		if i, closing := w.boundary(line); i >= 0 {
			return w.delimit(i, closing)
		}
		if !w.inHeader && !w.stack[len(w.stack)-1].seen && len(line) >= 10 && bytes.IndexByte(line, ' ') < 0 {
			w.dashes = append(w.dashes[:0], line[2:]...)
		}
	}
	if w.inHeader {
		return w.headerLine(line)
	}
	if w.cur != nil {
		w.keep(line)
	}
	return nil
}

// adopt takes the line before for the delimiter that the header of a multipart
// names otherwise, if a part's header follows it.
func (w *walker) adopt(line []byte) {
	if len(line) > 8 && strings.EqualFold(string(line[:8]), "Content-") && len(w.stack) > 0 {
		i := len(w.stack) - 1
		w.stack[i].boundary = string(w.dashes)
		_ = w.delimit(i, false) // no header is open
	}
	w.dashes = w.dashes[:0]
}

// endStray ends a header before the line in it that was no field.
func (w *walker) endStray() error {
	stray := w.stray
	w.stray = nil
	if err := w.endHeader(); err != nil || stray == nil {
		return err
	}
	return w.line(stray)
}

// headerLine adds a line to a header. The header ends with an empty line, or
// with one that can't belong to it, which then begins the body; in the header of
// the mail itself a single such line is passed over if another field follows.
func (w *walker) headerLine(line []byte) error {
	if w.stray != nil {
		if _, _, ok := cutField(string(line[:min(len(line), 80)])); !ok {
			if err := w.endStray(); err != nil {
				return err
			}
			return w.line(line)
		}
		w.stray = nil
	}
	if len(bytes.TrimSpace(line)) == 0 {
		if len(w.block) == 0 && len(w.stack) == 0 {
			return nil // empty lines before the mail
		}
		return w.endHeader()
	}
	if !w.fitsHeader(line) {
		if len(w.stack) == 0 {
			w.stray = bytes.Clone(line)
			return nil
		}
		if err := w.endHeader(); err != nil {
			return err
		}
		return w.line(line)
	}
	if len(w.block)+len(line) < keepHeader {
		w.block = append(append(w.block, line...), '\n')
	}
	return nil
}

func (w *walker) fitsHeader(line []byte) bool {
	if line[0] == ' ' || line[0] == '\t' {
		return true
	}
	if colon := bytes.IndexByte(line, ':'); colon > 0 && bytes.IndexByte(bytes.TrimRight(line[:colon], " \t"), ' ') < 0 {
		return true
	}
	if len(w.block) == 0 && len(w.stack) == 0 { // of an mbox, or quoted
		return bytes.HasPrefix(line, []byte("From ")) || bytes.HasPrefix(line, []byte(">From "))
	}
	return isParameter(string(line[:min(len(line), 20)]))
}

// endHeader begins the content that the header is of.
func (w *walker) endHeader() error {
	w.inHeader = false
	h := readHeader(string(w.block))
	w.block = w.block[:0]
	value := h.Get("Content-Type")
	kind, params := mediaType(value)
	if w.mail.header == nil {
		w.mail.header, w.mail.kind, w.mail.params = h, kind, params
	}
	if strings.HasPrefix(kind, "multipart/") {
		if len(w.stack) >= w.maxDepth {
			return &LimitError{What: "depth", Max: int64(w.maxDepth)}
		}
		w.stack = append(w.stack, multipart{boundary: parameter(params, "boundary"), digest: kind == "multipart/digest"})
		w.cur = &part{kind: partText, preamble: true}
		w.mail.parts = append(w.mail.parts, w.cur)
		return nil
	}
	w.cur = &part{kind: kindOf(kind, params, h), header: h, params: params}
	if len(w.stack) > 0 && looksOriginal(h) { // its own header is missing
		w.cur.kind, w.cur.full = partOriginal, true
		w.cur.raw = []byte(headerText(h))
	} else if value == "" && len(w.stack) > 0 && w.stack[len(w.stack)-1].digest {
		w.cur.kind = partOriginal
	}
	if w.count++; w.count > maxParts {
		return &LimitError{What: "parts", Max: maxParts}
	}
	if w.cur.kind != partOther {
		w.mail.parts = append(w.mail.parts, w.cur)
	}
	return nil
}

// kindOf decides by the media type.
func kindOf(kind, params string, h Header) partKind {
	switch kind {
	case "message/delivery-status", "message/global-delivery-status":
		return partStatus
	case "message/feedback-report":
		return partFeedback
	case "message/disposition-notification", "message/global-disposition-notification":
		return partMDN
	case "message/rfc822", "message/global", "message/global-headers", "message/rfc822-headers", "text/rfc822", "text/rfc822-header", "text/rfc822-headers", "message/partial":
		return partOriginal
	case "text/html", "text/x-html", "application/xhtml+xml":
		return partHTML
	case "text/calendar", "text/x-vcard", "text/vcard", "text/css":
		return partOther
	case "", "text", "plain", "text/enriched", "text/richtext":
		return partText
	}
	if strings.HasPrefix(kind, "text/") {
		return partText
	}
	if kind == "application/json" && strings.Contains(parameter(params, "name")+h.Get("Content-Disposition"), "xarf") {
		return partText
	}
	if !strings.Contains(kind, "/") { // nonsense: RFC 2045 §5.2 makes it text
		return partText
	}
	return partOther
}

// looksOriginal reports whether the header of a part is that of a message.
func looksOriginal(h Header) bool {
	n := 0
	for _, name := range []string{"Received", "From", "To", "Subject", "Message-ID", "Date", "Return-Path"} {
		if h.Get(name) != "" {
			n++
		}
	}
	return n >= 3
}

func headerText(h Header) string {
	var b strings.Builder
	for _, f := range h {
		b.WriteString(f.Name + ": " + f.Value + "\n")
	}
	return b.String()
}

// boundary returns the index of the open multipart whose delimiter line is, -1
// if it is none. A multipart whose boundary nobody named takes the first line
// that looks like one.
func (w *walker) boundary(line []byte) (index int, closing bool) {
	line = bytes.TrimRight(line[2:], " \t")
	for i := len(w.stack) - 1; i >= 0; i-- {
		b := w.stack[i].boundary
		if b == "" && i == len(w.stack)-1 && len(line) >= 8 && bytes.IndexByte(line, ' ') < 0 {
			w.stack[i].boundary = string(line)
			return i, false
		}
		if b == "" || len(line) < len(b) || string(line[:len(b)]) != b {
			continue
		}
		if rest := line[len(b):]; len(rest) == 0 {
			return i, false
		} else if string(rest) == "--" {
			return i, true
		}
	}
	return -1, false
}

// delimit ends the current part, and with it the multiparts that were left open.
func (w *walker) delimit(i int, closing bool) error {
	var err error
	if w.inHeader && len(w.block) > 0 {
		err = w.endHeader()
	}
	w.cur = nil
	w.inHeader = !closing
	w.block = w.block[:0]
	if !w.stack[i].seen {
		w.stack[i].seen = true
		w.mail.parts = slices.DeleteFunc(w.mail.parts, func(p *part) bool { return p.preamble })
	}
	if closing {
		w.stack = w.stack[:i]
	} else {
		w.stack = w.stack[:i+1]
	}
	return err
}

// keep stores a line of content, as far as its kind is worth.
func (w *walker) keep(line []byte) {
	p := w.cur
	limit := keepText
	switch p.kind {
	case partOther:
		return
	case partStatus, partFeedback, partMDN:
		limit = keepFields
	case partOriginal:
		if p.full && !p.nested {
			return
		}
		if limit = keepHeader; p.nested {
			limit = keepFields
		} else if len(line) == 0 && !p.encoded() {
			p.full = len(bytes.TrimSpace(p.raw)) > 0
			p.nested = p.full && isReportHeader(p.raw)
		}
	}
	if len(p.raw)+len(line) >= limit || w.kept+len(line) >= keepAll {
		return
	}
	if p.raw == nil {
		p.raw = make([]byte, 0, 2<<10)
	}
	w.kept += len(line) + 1
	p.raw = append(append(p.raw, line...), '\n')
}

// isReportHeader reports whether the header is that of a delivery report.
func isReportHeader(header []byte) bool {
	if !bytes.Contains(header, []byte("delivery-status")) {
		return false
	}
	_, params := mediaType(readHeader(string(header)).Get("Content-Type"))
	return parameterIs(params, "report-type", "delivery-status")
}
