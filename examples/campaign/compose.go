package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	netmail "net/mail"
	"net/url"
	"strings"
	"time"

	"github.com/wneessen/go-mail"
	"golang.org/x/net/idna"

	"github.com/volleymail/volley/sender"
)

// composer makes the mail of each recipient. It does not change: many letters
// are written at once.
type composer struct {
	list        *list
	from        *netmail.Address
	returnPath  string
	subject     template
	html        template  // nil = no HTML part
	text        template  // nil = no text part
	unsubscribe template  // nil = no List-Unsubscribe
	date        time.Time // the same for all, and for each attempt
	id          string    // of this campaign, in each Message-ID
}

// newID makes a name that no other campaign has.
func newID() string { return strings.ToLower(rand.Text()[:12]) }

// message returns the envelope of a recipient's mail. The mail itself is
// written when a connection is ready for it.
func (c *composer) message(i int) *sender.Message {
	return &sender.Message{From: c.returnPath, To: []string{c.list.address(i)}, Content: letter{c, i}}
}

// letter is the mail of one recipient.
type letter struct {
	*composer
	row int
}

// WriteTo renders the mail, the same each time.
func (l letter) WriteTo(w io.Writer) (int64, error) {
	m, err := l.compose()
	if err != nil {
		return 0, fmt.Errorf("row %d: %w", l.list.number(l.row), err)
	}
	return m.WriteTo(w)
}

func (l letter) compose() (*mail.Msg, error) {
	data := l.list.fields(l.row)
	m := mail.NewMsg(mail.WithNoDefaultUserAgent(), mail.WithBoundary("part-"+l.id))
	m.SetDateWithValue(l.date)
	m.SetMessageIDWithValue(fmt.Sprintf("%s.%d@%s", l.id, l.list.number(l.row), domainOf(l.from.Address)))
	m.FromMailAddress(l.from)
	m.ToMailAddress(&netmail.Address{Address: asciiDomain(l.list.address(l.row))})
	if l.unsubscribe != nil {
		link, err := unsubscribeLink(l.unsubscribe, data)
		if err != nil {
			return nil, err
		}
		data[unsubscribeField] = link
		m.SetGenHeader(mail.HeaderListUnsubscribe, "<"+link+">")
		m.SetGenHeader(mail.HeaderListUnsubscribePost, "List-Unsubscribe=One-Click") // RFC 8058 §3.1
	}
	subject, err := headerText(l.subject, data)
	if err != nil {
		return nil, fmt.Errorf("-subject: %w", err)
	}
	m.Subject(subject)
	return m, l.setBody(m, data)
}

func (l letter) setBody(m *mail.Msg, data map[string]string) error {
	set := m.SetBodyString
	for _, part := range []struct {
		template
		kind mail.ContentType
	}{{l.text, mail.TypeTextPlain}, {l.html, mail.TypeTextHTML}} { // the best one last, RFC 2046 §5.1.4
		if part.template == nil {
			continue
		}
		var b bytes.Buffer
		if err := part.Execute(&b, data); err != nil {
			return err
		}
		set(part.kind, b.String())
		set = m.AddAlternativeString
	}
	return nil
}

// unsubscribeField is the link's name in the mail's templates.
const unsubscribeField = "unsubscribe"

// unsubscribeLink renders the URL. It stands in angle brackets in the header
// (RFC 2369 §2), so a field must not end them.
func unsubscribeLink(t template, data map[string]string) (string, error) {
	text, err := headerText(t, data)
	if err != nil {
		return "", fmt.Errorf("-list-unsubscribe: %w", err)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "":
		return "", fmt.Errorf("-list-unsubscribe gives %q: it must be an https URL (RFC 8058 §3.1)", text)
	case strings.ContainsAny(text, "<>\" ,") || !isASCII(text):
		return "", fmt.Errorf("-list-unsubscribe gives %q: write {{urlquery .field}} to encode a field", text)
	}
	return text, nil
}

// headerText renders the value of a header field. go-mail encodes what is not
// ASCII; a line break or control character has no business there, and would
// let a merge field add fields of its own.
func headerText(t template, data map[string]string) (string, error) {
	var b strings.Builder
	if err := t.Execute(&b, data); err != nil {
		return "", err
	}
	for _, c := range b.String() {
		if c < ' ' || c == 0x7f {
			return "", fmt.Errorf("%q has a line break or control character: take it out of the list", b.String())
		}
	}
	text := strings.Join(strings.Fields(b.String()), " ")
	if text == "" {
		return "", errors.New("it is empty")
	}
	return text, nil
}

// asciiDomain writes the domain in A-labels (RFC 5891), so that the header stays
// ASCII where it can.
func asciiDomain(addr string) string {
	domain := domainOf(addr)
	if a, err := idna.Lookup.ToASCII(domain); err == nil {
		return strings.TrimSuffix(addr, domain) + a
	}
	return addr
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
