// Package letter makes whole mails out of a recipient's data: templates for
// sender.Config.Templates. A Letter has templates for the subject, a text and an
// HTML part, and header fields, and composes the mail with go-mail, the same
// bytes each time. It leaves out Date and Message-ID: the Sender adds them, the
// same at each attempt.
//
// The data is what a message's Data says. With Sender.Submit it goes through
// JSON: objects are map[string]any, integers int64, other numbers float64. A
// field that is not in the data is an error, for that message alone; one that is
// null or empty prints as nothing:
//
//	Hello {{.first}},                            an error without "first"
//	Hello {{or .first "there"}},                 null or "" is fine
//	Hello {{or (index . "first") "there"}},      not being there, too
//
// Data cannot add header fields, recipients or parts: an address is parsed, a
// line break in a header field is an error, the boundary between parts is a hash
// of them, and the HTML part is html/template's, which escapes for each place.
package letter

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	netmail "net/mail"
	"strings"
	"sync"

	"github.com/wneessen/go-mail"
)

// Config of a Letter. From, To, Subject, and Text or HTML must be given. What is
// called a template is one of text/template, but for HTML.
type Config struct {
	From    netmail.Address // its Name may be any text, or ""
	ReplyTo netmail.Address // zero = none

	// To is a template of the address in the To field, such as "{{.email}}";
	// ToName one of the name beside it, "" = none. Who gets the mail is the
	// message's envelope: these are what people read.
	To     string
	ToName string

	Subject string // a template; runs of spaces become one
	Text    string // a template of the text/plain part, "" = none
	HTML    string // a template of html/template, of the text/html part, "" = none

	// Unsubscribe is a template of an https URL, which gets one-click
	// unsubscription (RFC 8058): package bounce/unsubscribe makes and serves such
	// URLs. UnsubscribeMailto is one of a mailto URL, for mail programs that know
	// no other way (RFC 2369 §3.2). "" = none.
	Unsubscribe       string
	UnsubscribeMailto string

	// Header has templates of further fields by name, such as "Feedback-ID". One
	// that renders to nothing is left out. What is not ASCII is encoded
	// (RFC 2047), so it must be plain text there.
	Header map[string]string

	// Funcs are further functions for all templates. They are called from many
	// goroutines and must give the same each time. nil = none.
	Funcs map[string]any

	// AllowMissing lets a field that is not in the data print as nothing too.
	AllowMissing bool
}

// Letter composes mails. It may be used by many goroutines at once.
type Letter struct {
	from, replyTo     *netmail.Address // replyTo may be nil
	to, toName        tmpl
	subject           tmpl
	parts             []part
	unsubscribe       tmpl
	unsubscribeMailto tmpl
	header            []field // by name
}

// tmpl is what both template packages make, nil for none.
type tmpl interface {
	Execute(w io.Writer, data any) error
}

type part struct {
	kind mail.ContentType
	tmpl
}

type field struct {
	name string
	tmpl
}

// Execute writes the mail of a recipient. After an error, which names the
// template, it has written nothing of it unless the error is w's.
func (l *Letter) Execute(w io.Writer, data any) error {
	m, err := l.compose(data)
	if err != nil {
		return fmt.Errorf("letter: %w", err)
	}
	b := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(b)
	b.Reset()
	if _, err := m.WriteTo(b); err != nil {
		return fmt.Errorf("letter: %w", err)
	}
	return writeWithout(w, b.Bytes(), string(mail.HeaderDate), string(mail.HeaderMessageID))
}

// buffers recycles the memory of composed mails.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// compose makes the mail with go-mail.
func (l *Letter) compose(data any) (*mail.Msg, error) {
	parts, boundary, err := l.renderParts(data)
	if err != nil {
		return nil, err
	}
	m := mail.NewMsg(mail.WithNoDefaultUserAgent(), mail.WithBoundary(boundary))
	m.SetGenHeader(mail.HeaderDate) // else go-mail makes these up; see writeWithout
	m.SetGenHeader(mail.HeaderMessageID)
	m.FromMailAddress(l.from)
	m.ReplyToMailAddress(l.replyTo)
	if err := l.setHeader(m, data); err != nil {
		return nil, err
	}
	set := m.SetBodyWriter
	for i, p := range l.parts { // the best one last, RFC 2046 §5.1.4
		set(p.kind, func(w io.Writer) (int64, error) {
			n, err := w.Write(parts[i])
			return int64(n), err
		})
		set = m.AddAlternativeWriter
	}
	return m, nil
}

// renderParts gives the parts, and a boundary that is in none of them: whoever
// wrote a part with its own hash in it would have broken SHA-256.
func (l *Letter) renderParts(data any) (parts [][]byte, boundary string, err error) {
	hash := sha256.New()
	for _, p := range l.parts {
		var b bytes.Buffer
		if err := p.Execute(&b, data); err != nil {
			return nil, "", err
		}
		text := b.Bytes()
		if p.kind == mail.TypeTextPlain {
			text = withoutNull(text)
		}
		parts = append(parts, text)
		hash.Write(text)
	}
	return parts, hex.EncodeToString(hash.Sum(nil)[:20]), nil
}

// withoutNull takes out what text/template prints for null, and for a missing
// field that is allowed; html/template prints nothing.
func withoutNull(text []byte) []byte { return bytes.ReplaceAll(text, []byte("<no value>"), nil) }

// setHeader renders the header fields.
func (l *Letter) setHeader(m *mail.Msg, data any) error {
	to, err := l.recipient(data)
	if err != nil {
		return err
	}
	m.ToMailAddress(to)
	subject, err := headerText("Subject", l.subject, data)
	if err != nil {
		return err
	}
	if subject == "" {
		return errors.New("Subject: it is empty")
	}
	m.Subject(encoded(subject))
	if err := l.setUnsubscribe(m, data); err != nil {
		return err
	}
	for _, f := range l.header {
		value, err := headerText(f.name, f.tmpl, data)
		if err != nil {
			return err
		}
		if value != "" {
			m.SetGenHeader(mail.Header(f.name), encoded(value))
		}
	}
	return nil
}

func (l *Letter) recipient(data any) (*netmail.Address, error) {
	text, err := headerText("To", l.to, data)
	if err != nil {
		return nil, err
	}
	to, err := address(netmail.Address{Address: text})
	if err != nil {
		return nil, fmt.Errorf("To: %w", err)
	}
	if l.toName == nil {
		return to, nil
	}
	to.Name, err = headerText("ToName", l.toName, data)
	return to, err
}

func (l *Letter) setUnsubscribe(m *mail.Msg, data any) error {
	var links []string
	for _, u := range []struct {
		name, scheme string
		tmpl
	}{{"Unsubscribe", "https", l.unsubscribe}, {"UnsubscribeMailto", "mailto", l.unsubscribeMailto}} { // the preferred one first, RFC 2369 §3
		if u.tmpl == nil {
			continue
		}
		text, err := headerText(u.name, u.tmpl, data)
		if err != nil {
			return err
		}
		if err := checkURL(text, u.scheme); err != nil {
			return fmt.Errorf("%s: %w", u.name, err)
		}
		links = append(links, "<"+text+">")
	}
	if links != nil {
		m.SetGenHeader(mail.HeaderListUnsubscribe, strings.Join(links, ", "))
	}
	if l.unsubscribe != nil {
		m.SetGenHeader(mail.HeaderListUnsubscribePost, "List-Unsubscribe=One-Click") // RFC 8058 §3.1
	}
	return nil
}
