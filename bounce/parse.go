package bounce

import (
	"errors"
	"io"
	"strings"
)

// ErrEmpty says that there was no mail at all to read.
var ErrEmpty = errors.New("bounce: empty mail")

// Parse reads a mail that came back with the default Parser: see
// [Parser.Parse].
func Parse(r io.Reader) (*Report, error) { return new(Parser).Parse(r) }

// Parser reads mails. The zero Parser is ready for use; it may be used by any
// number of goroutines.
type Parser struct {
	Rules    *Rules // that judge why a recipient failed; nil = DefaultRules
	MaxSize  int64  // of a mail, in octets; 0 = 32 MB
	MaxDepth int    // of multiparts in one another; 0 = 20
}

const (
	defaultMaxSize  = 32 << 20
	defaultMaxDepth = 20
)

// Parse reads one mail (RFC 5322) and says what kind of report it is, about
// whom, and why. It takes delivery reports (RFC 3464, RFC 6533), what mailers
// without them write, feedback loops (RFC 5965, RFC 6591, RFC 9477) and their
// lookalikes, disposition notifications (RFC 8098), requests to unsubscribe,
// automatic replies (RFC 3834) and ordinary mail, which is NotReport. Broken
// mails are read as far as they make sense, in any charset, transfer encoding
// and line end.
//
// Parse reads r to its end but keeps at most a megabyte of it. The error is
// r's, a [*LimitError], or ErrEmpty. With the first two the Report is what the
// part read so far says; with ErrEmpty it is nil.
func (p *Parser) Parse(r io.Reader) (*Report, error) {
	size, depth := p.MaxSize, p.MaxDepth
	if size <= 0 {
		size = defaultMaxSize
	}
	if depth <= 0 {
		depth = defaultMaxDepth
	}
	l := newLines(r, size)
	defer l.close()
	m, err := walk(l, depth)
	if err == nil && l.left == size {
		return nil, ErrEmpty
	}
	j := newJudge(p, m)
	return j.report(), err
}

func (p *Parser) classify(r Reply) Class {
	rules := p.Rules
	if rules == nil {
		rules = DefaultRules()
	}
	return rules.Classify(r)
}

// judge forms a Report from the parts of a mail.
type judge struct {
	*Parser
	mail    *mimeMail
	rep     *Report
	subject string    // in lower case, without "Re:" and the like
	reply   bool      // the subject had a "Re:" or "Fwd:"
	words   string    // the text of the mail, decoded
	body    *bodyText // words, read as a report; nil until needed
	depth   int       // of reports in reports
}

func newJudge(p *Parser, m *mimeMail) *judge {
	h := m.header
	rep := &Report{
		Subject: decodeWords(h.Get("Subject")),
		From:    firstAddress(decodeWords(h.Get("From"))),
		Date:    parseDate(h.Get("Date")),
	}
	for i := range h {
		if containsName(sentToFields, h[i].Name) {
			rep.SentTo = addNew(rep.SentTo, addresses(h[i].Value)...)
		}
	}
	j := &judge{Parser: p, mail: m, rep: rep}
	j.subject, j.reply = cutRe(strings.ToLower(rep.Subject))
	return j
}

// sentToFields tell whom a mail was delivered to.
var sentToFields = []string{"To", "Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "X-Delivered-To", "X-Rcpt-To", "X-Apparently-To", "Apparently-To", "Cc"}

// cutRe removes "Re:", "Fwd:" and what other languages have for them.
func cutRe(s string) (rest string, had bool) {
	s = strings.TrimSpace(s)
	for {
		name, after, ok := strings.Cut(s, ":")
		if !ok || !containsExact(rePrefixes, strings.TrimRight(name, "0123456789[]() ")) {
			return s, had
		}
		s, had = strings.TrimSpace(after), true
	}
}

var rePrefixes = []string{"re", "fw", "fwd", "aw", "wg", "sv", "vs", "antw", "doorst", "tr", "rv", "res", "enc", "rif", "i", "odp", "ynt", "回复", "转发", "答复"}

func containsExact(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

// report decides in the order of how sure the signs are: what a machine wrote
// for machines first, words last.
func (j *judge) report() *Report {
	j.readOriginal()
	switch {
	case j.feedback(), j.delivery(), j.disposition(), j.notification(), j.lookalike():
	default:
		j.readWords()
		switch {
		case j.automatic(), j.failure(), j.unsubscribe(), j.challenge(), j.autoReply():
		}
	}
	j.finishOriginal()
	return j.rep
}

// readOriginal takes the header of the message that came back from its part.
func (j *judge) readOriginal() {
	if p := j.mail.first(partOriginal); p != nil {
		text := ""
		if p.encoded() {
			text, _, _ = strings.Cut(strings.TrimLeft(p.text(), "\n"), "\n\n")
		} else {
			text = toUTF8(p.raw)
		}
		j.rep.Original = readHeader(text).decoded()
	}
}

// finishOriginal takes from the original what names it.
func (j *judge) finishOriginal() {
	r := j.rep
	if len(r.Original) == 0 && j.body != nil && r.Class != NotReport {
		r.Original = j.body.original.decoded()
	}
	if r.MessageID == "" {
		r.MessageID = messageID(r.Original.Get("Message-ID"))
	}
	if r.MessageID == "" && (r.Class == Bounce || r.Class == Delayed) {
		if r.MessageID = messageID(j.mail.header.Get("In-Reply-To")); r.MessageID == "" {
			r.MessageID = messageID(j.mail.header.Get("References"))
		}
	}
	if r.FeedbackID = r.Original.Get("CFBL-Feedback-ID"); r.FeedbackID == "" {
		r.FeedbackID = r.Original.Get("Feedback-ID")
	}
}

// readWords decodes the text of the mail: all that is plain, else the HTML.
func (j *judge) readWords() {
	if j.words != "" {
		return
	}
	var b strings.Builder
	for _, p := range j.mail.parts {
		if p.kind == partText {
			b.WriteString(p.text())
			b.WriteByte('\n')
		}
	}
	if strings.TrimSpace(b.String()) == "" {
		for _, p := range j.mail.parts {
			if p.kind == partHTML {
				b.WriteString(htmlText(p.text()))
				b.WriteByte('\n')
			}
		}
	}
	j.words = b.String()
}

// readBody reads the text as a report.
func (j *judge) readBody() *bodyText {
	if j.body == nil {
		j.readWords()
		j.body = readBody(j.words)
	}
	return j.body
}
